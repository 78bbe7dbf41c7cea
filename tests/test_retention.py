"""What is old goes, in its order; what is not finished stays, and nobody has to wait."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections, models, transaction
from django.db.models import ProtectedError
from django.test.utils import CaptureQueriesContext

from gemini_webhooks import beat_schedule, clock, deliveries, processing, receivers, replay, tasks
from gemini_webhooks.deliveries import removal
from gemini_webhooks.emulator import EmulatorServer
from gemini_webhooks.exceptions import ConfigurationError, PayloadPruned, ResultRemoved
from gemini_webhooks.management.subcommands import retention as retention_commands
from gemini_webhooks.models import (
    Attempt,
    Job,
    Lane,
    ReceiverRun,
    RejectedRequest,
    ResultFile,
    TokenUse,
    WebhookDelivery,
)
from gemini_webhooks.retention import Pruned, pace, prune
from gemini_webhooks.signals import result_ready
from tests.admin import rows
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender, new_id

NOTHING = Pruned()
State = WebhookDelivery.State


@pytest.fixture(autouse=True)
def files(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    monkeypatch.setattr(pace, "REST", 0)
    return settings.MEDIA_ROOT


@pytest.fixture
def days(settings: Any) -> dict[str, Any]:
    """``RETENTION_DAYS`` of the site; nothing goes but what a test asks for."""
    kept = dict.fromkeys(("payloads", "results", "deliveries", "rejections"))
    settings.GEMINI_WEBHOOKS = {"RETENTION_DAYS": kept}
    return kept


def ago(number: float) -> Any:
    return clock.now() - timedelta(days=number)


def run(*words: str) -> str:
    call_command("gemini_webhooks", *words, stdout=(out := io.StringIO()), stderr=io.StringIO())
    return out.getvalue()


def old_family(number: int = 1, *, age: float = 40, **values: Any) -> WebhookDelivery:
    """A delivery with all that hangs on it, each with something to remove."""
    came = rows.delivery(number, received_at=ago(age), user_metadata={"tenant": "acme"}, **values)
    handled = rows.run(came, last_error="ValueError: ada@example.com")
    rows.attempt(handled, traceback="Traceback: ada@example.com", error_class="ValueError")
    rows.result(came, error="refused: ada@example.com", state=ResultFile.State.FAILED)
    rows.job(
        number, delivery=came, state=Job.State.SUCCEEDED, user_metadata={"tenant": "acme"},
        submitted_at=ago(age), due_at=ago(age - 1),
    )  # fmt: skip
    return came


def stored_result(came: WebhookDelivery, *, age: float) -> ResultFile:
    content = ContentFile(b'{"key": "a"}\n', name="out.jsonl")
    return rows.result(
        came, position=1, file=content, rows=1, size=13, finished_at=ago(age), created_at=ago(age)
    )


@every_database
def test_contents_go_first_and_ids_stay(database: str, days: dict[str, Any]) -> None:
    days["payloads"] = 30
    old, new = old_family(1), old_family(2, age=29)

    assert prune() == Pruned(payloads=1)

    old.refresh_from_db()
    assert (old.body, old.user_metadata, old.emptied_by) == (None, {}, "retention")
    assert old.emptied_at is not None
    assert (old.webhook_id, old.resource_id, old.event_type) == (
        "evt_0001", "batch-1", "batch.succeeded",
    )  # fmt: skip
    assert ReceiverRun.objects.get(delivery=old).last_error == ""
    attempt = Attempt.objects.get(run__delivery=old)
    assert (attempt.traceback, attempt.error_class) == ("", "ValueError")
    assert ResultFile.objects.get(delivery=old).error == ""
    assert Job.objects.get(delivery=old).user_metadata == {}
    new.refresh_from_db()
    assert new.body
    assert new.user_metadata == {"tenant": "acme"}
    assert "ada" in ReceiverRun.objects.get(delivery=new).last_error
    assert prune() == NOTHING


@every_database
def test_a_repetition_of_what_was_emptied_is_a_duplicate(
    database: str, static: StaticSender, configured: dict[str, Any]
) -> None:
    static.post(webhook_id="m")
    WebhookDelivery.objects.update(received_at=ago(31), state=State.PROCESSED)
    prune()

    assert static.post(webhook_id="m").json() == {"status": "duplicate"}
    assert WebhookDelivery.objects.get().body is None


@every_database
@pytest.mark.parametrize("kind", ["payloads", "deliveries", "results"])
@pytest.mark.parametrize(
    "unfinished",
    ["received", "processing", "pending", "parked", "retrying", "running", "fetching"],
)
def test_what_is_not_finished_stays(
    database: str, days: dict[str, Any], kind: str, unfinished: str
) -> None:
    days[kind] = 30
    came = rows.delivery(received_at=ago(400), state=State.FAILED)
    stored_result(came, age=400)
    runs, results = ReceiverRun.State, ResultFile.State
    if unfinished in State.values:
        WebhookDelivery.objects.update(state=unfinished)
    elif unfinished == "parked":
        rows.run(came, state=runs.PENDING, lane="lane", parked_at=ago(399))
    elif unfinished == "fetching":
        rows.result(came, state=results.FETCHING)
    else:
        rows.run(came, state=unfinished)

    assert prune() == NOTHING
    assert json.loads(run("prune", "--dry-run", "--json"))[kind] == 0
    assert WebhookDelivery.objects.get().body
    assert ResultFile.objects.get(position=1).file


@every_database
def test_deliveries_go_with_all_that_hangs_on_them(database: str, days: dict[str, Any]) -> None:
    days["deliveries"] = 365
    old_family(1, age=366)
    kept = old_family(2, age=364)

    assert prune() == Pruned(deliveries=1, jobs=1)

    assert WebhookDelivery.objects.get() == kept
    for model in (ReceiverRun, Attempt, ResultFile, Job):
        assert model.objects.count() == 1
    assert prune() == NOTHING


@every_database
def test_job_that_has_not_ended_stays_in_the_ledger(database: str, days: dict[str, Any]) -> None:
    days.update(payloads=30, deliveries=365)
    age = {"submitted_at": ago(500), "due_at": ago(400), "user_metadata": {"tenant": "acme"}}
    for number, state in enumerate(Job.State.values):
        rows.job(number, state=state, **age)

    assert prune().jobs == 5
    assert {job.state for job in Job.objects.all()} == {"submitted", "requires_action"}
    assert all(job.user_metadata for job in Job.objects.all())


@every_database
def test_lost_job_loses_its_metadata_with_the_payloads(database: str, days: dict[str, Any]) -> None:
    days["payloads"] = 30
    rows.job(
        state=Job.State.LOST, submitted_at=ago(70), due_at=ago(31), user_metadata={"tenant": "acme"}
    )
    prune()

    assert Job.objects.get().user_metadata == {}


@every_database
def test_result_files_have_a_period_of_their_own(
    database: str, days: dict[str, Any], files: Path
) -> None:
    days["results"] = 90
    came = rows.delivery(received_at=ago(100))
    old, new = stored_result(came, age=91), rows.result(came, finished_at=ago(89))
    path = Path(old.file.path)
    assert path.exists()

    assert json.loads(run("prune", "--dry-run", "--json"))["results"] == 1
    assert path.exists()
    assert prune() == Pruned(results=1)

    assert not path.exists()
    old.refresh_from_db()
    assert (old.state, old.file.name, int(old.rows), old.size) == ("removed", "", 1, 13)
    with pytest.raises(ResultRemoved, match="a replay of its delivery fetches it again"):
        next(old.rows())
    new.refresh_from_db()
    assert new.state == "complete"
    assert prune() == NOTHING


@every_database
def test_delivery_stays_as_long_as_its_result_file(database: str, days: dict[str, Any]) -> None:
    days["deliveries"] = 365
    came = rows.delivery(received_at=ago(400))
    result = stored_result(came, age=399)

    assert prune() == NOTHING
    assert Path(result.file.path).exists()

    days["results"] = 90
    assert prune() == Pruned(results=1, deliveries=1)
    assert not Path(result.file.path).exists()
    assert not ResultFile.objects.exists()


@every_database
def test_replay_fetches_again_what_was_removed(
    database: str, configured: dict[str, Any], static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")
    seen: list[Any] = []
    receivers.on("batch.succeeded", name="other")(lambda **_: None)

    def read(result: ResultFile, **_: Any) -> None:
        seen.append(list(result.rows()))

    result_ready.connect(read, weak=False)
    configured |= {
        "FETCH_RESULTS": True, "ALLOWED_BUCKETS": ["gemini-emulator"], "MAX_ATTEMPTS": 1,
        "RETENTION_DAYS": {"results": 5},
    }  # fmt: skip
    with EmulatorServer("127.0.0.1", 0) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        uri = server.emulator.storage.put("gemini-emulator", "out", b'{"key": "a"}\n', "text/plain")
        static.post(static.envelope(output_file_uri=uri), webhook_id="m")
        processing.drain()
        ResultFile.objects.update(finished_at=ago(6))
        assert prune() == Pruned(results=1)
        came = WebhookDelivery.objects.get()

        replay.replay(came, receivers=["other"], actor="ada")
        assert ResultFile.objects.get().state == "removed"  # nobody wants to read it
        processing.drain()
        replay.replay(came, actor="ada")
        processing.drain()

    assert seen == [[{"key": "a"}]] * 2
    assert ResultFile.objects.get().state == "complete"


class Refusing(FileSystemStorage):
    def delete(self, name: str) -> None:
        raise PermissionError(f"no: {name}")


@every_database
def test_file_that_the_storage_does_not_delete_is_tried_again(
    database: str, days: dict[str, Any], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    days.update(results=90, deliveries=365)
    result = stored_result(rows.delivery(received_at=ago(400)), age=400)
    usual = settings.STORAGES
    settings.STORAGES = {**usual, "default": {"BACKEND": "tests.test_retention.Refusing"}}

    with pytest.raises(SystemExit, match="1"):
        run("prune")
    assert f"file of result {result.pk} not deleted: PermissionError" in caplog.text
    assert result.file.name not in caplog.text
    assert ResultFile.objects.get().state == "complete"

    settings.STORAGES = usual
    assert prune() == Pruned(results=1, deliveries=1)


@every_database
def test_interrupted_removal_of_a_file_is_done_again(database: str, days: dict[str, Any]) -> None:
    days["results"] = 90
    result = stored_result(rows.delivery(received_at=ago(400)), age=400)
    Path(result.file.path).unlink()

    assert prune() == Pruned(results=1)


@every_database
def test_token_stays_used_up_until_it_ends(
    database: str, dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["RETENTION_DAYS"] = {"deliveries": 2}
    dynamic.binding = "body"
    soon = int(time.time()) + 3600
    for claims in ({}, {"exp": None}, {"iat": None, "exp": soon + 10 * 86400}):
        dynamic.claims = claims
        assert dynamic.post().json() == {"status": "accepted"}
    ends = TokenUse.objects.values_list("expires_at", flat=True).order_by("pk")
    assert [round((clock.aware(end).timestamp() - soon) / 60) for end in ends] == [0, 0, 14400]
    TokenUse.objects.update(used_at=ago(3))
    assert prune() == NOTHING  # none has ended

    for use in TokenUse.objects.all():
        TokenUse.objects.filter(pk=use.pk).update(expires_at=use.expires_at - timedelta(days=3))
    assert prune() == Pruned(tokens=2)
    [long] = TokenUse.objects.all()
    assert long.expires_at > clock.now()


@every_database
def test_token_of_which_an_older_version_did_not_note_the_end(
    database: str, days: dict[str, Any]
) -> None:
    for age in (364, 366):
        TokenUse.objects.create(token_digest=f"{age}", webhook_id="m", used_at=ago(age))

    assert prune() == NOTHING
    days["deliveries"] = 365
    assert prune() == Pruned(tokens=1)
    assert TokenUse.objects.get().token_digest == "364"


@every_database
def test_token_outlives_the_age_at_which_it_is_still_accepted(
    database: str, days: dict[str, Any], settings: Any
) -> None:
    settings.GEMINI_WEBHOOKS["MAX_TOKEN_AGE_SECONDS"] = 10 * 86400
    days["deliveries"] = 2
    for age in (9, 12):
        TokenUse.objects.create(
            token_digest=f"{age}", webhook_id="m", used_at=ago(age), expires_at=ago(age)
        )
    assert prune() == Pruned(tokens=1)
    assert TokenUse.objects.get().token_digest == "9"


@every_database
def test_rejections_go(database: str, days: dict[str, Any]) -> None:
    days["rejections"] = 7
    for age in (6, 8, 9):
        rows.rejection(received_at=ago(age))

    assert prune() == Pruned(rejections=2)
    assert RejectedRequest.objects.get().received_at > ago(7)


@every_database
def test_lane_goes_when_nobody_has_used_it_for_a_week(database: str, days: dict[str, Any]) -> None:
    for name, used_at in (("unused", ago(8)), ("full", ago(8)), ("new", ago(6)), ("old", None)):
        Lane.objects.create(name=name, limit=1, used_at=used_at)
    rows.run(rows.delivery(state="processing"), state=ReceiverRun.State.RETRYING, lane="full")

    assert prune() == Pruned(lanes=1)
    assert set(Lane.objects.values_list("name", flat=True)) == {"full", "new", "old"}
    assert Lane.objects.get(name="old").used_at > ago(1)  # from now on it counts


@every_database
def test_a_lane_that_is_used_is_not_lost(database: str, static: StaticSender) -> None:
    lane = "notes"
    receivers.on("batch.succeeded", name=lane, limit=1)(lambda **_: None)
    static.post()
    processing.drain()
    assert Lane.objects.get().used_at > ago(1)
    Lane.objects.update(used_at=ago(8))
    static.post(webhook_id=new_id())
    processing.plan(WebhookDelivery.objects.latest("pk").pk)
    assert Lane.objects.get().used_at > ago(1)
    Lane.objects.update(used_at=ago(8))

    assert prune().lanes == 0  # a run is in it
    processing.drain()
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}


@every_database
def test_none_keeps_for_ever(database: str, days: dict[str, Any]) -> None:
    stored_result(old_family(1, age=4000), age=4000)
    rows.rejection(received_at=ago(4000))

    assert prune() == NOTHING
    counted = json.loads(run("prune", "--dry-run", "--json"))
    assert not any(count for name, count in counted.items() if name != "dry_run")


@every_database
def test_dry_run_counts_what_a_pass_then_removes(database: str, days: dict[str, Any]) -> None:
    days.update(payloads=30, results=90, deliveries=365, rejections=7)
    old_family(1, age=40)
    old_family(2, age=50)
    old_family(3, age=20)
    stored_result(rows.delivery(4, received_at=ago(100)), age=100)
    rows.delivery(5, received_at=ago(400))
    old_family(6, age=400)
    rows.rejection(received_at=ago(8))
    before = WebhookDelivery.objects.filter(emptied_at=None).count()

    counted = json.loads(run("prune", "--dry-run", "--json"))

    assert WebhookDelivery.objects.filter(emptied_at=None).count() == before
    removed = json.loads(run("prune", "--json"))
    assert counted.pop("dry_run") is True
    assert {name: removed[name] for name in counted} == counted
    assert (removed["payloads"], removed["deliveries"], removed["jobs"]) == (3, 2, 1)
    assert removed["complete"]


@every_database
def test_limit_ends_a_pass_that_the_next_one_continues(database: str, days: dict[str, Any]) -> None:
    days["payloads"] = 30
    for number in range(5):
        rows.delivery(number, received_at=ago(40 + number))

    assert json.loads(run("prune", "--limit", "3", "--json"))["complete"] is False
    left = WebhookDelivery.objects.filter(emptied_at=None)
    assert {came.webhook_id for came in left} == {"evt_0000", "evt_0001"}  # the oldest went first
    assert prune(limit=3) == Pruned(payloads=2)


@every_database
def test_time_ends_a_pass(database: str, days: dict[str, Any]) -> None:
    days["payloads"] = 30
    rows.delivery(received_at=ago(40))

    assert prune(seconds=0) == Pruned(complete=False)
    assert tasks.prune(seconds=60)["payloads"] == 1


@every_database
def test_rows_of_one_moment_are_all_visited(
    database: str, days: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when some of them cannot go, and the batches are small."""
    monkeypatch.setattr(pace, "FIRST_SIZE", 2)
    monkeypatch.setattr(pace, "LARGEST_SIZE", 2)
    days["payloads"] = 30
    moment = ago(40)
    for number in range(9):
        state = State.PROCESSING if number % 3 == 0 else State.PROCESSED
        rows.delivery(number, received_at=moment, state=state)

    assert prune() == Pruned(payloads=6)


@every_database
def test_what_was_emptied_is_not_looked_at_again(database: str, days: dict[str, Any]) -> None:
    """Finding the rest is a step into an index, however many have been emptied."""
    connection = connections[database]
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(
            webhook_id=f"m{number}", signing="hmac", state=State.PROCESSED,
            received_at=ago(300 - number / 50), emptied_at=ago(200),
        )
        for number in range(10_000)
    )  # fmt: skip
    with connection.cursor() as cursor:
        table = WebhookDelivery._meta.db_table
        how = {"sqlite": "ANALYZE", "mysql": f"ANALYZE TABLE {table}"}
        cursor.execute(how.get(connection.vendor, f"ANALYZE {table}"))
    plan = removal.with_content(ago(30)).order_by("received_at", "pk").values_list("pk")[:500]

    assert "gw_delivery_to_empty" in plan.explain()


@every_database
def test_a_delivery_that_the_site_protects_is_kept_and_counted(
    database: str, days: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Django says it for a foreign key with ``PROTECT`` in a table of the site."""
    days["deliveries"] = 365
    mine, *_ = [rows.delivery(number, received_at=ago(400)) for number in range(3)]
    usual = models.QuerySet.delete

    def delete(queryset: Any) -> Any:
        if queryset.model is WebhookDelivery and mine in queryset:
            raise ProtectedError("referred to by an invoice", {mine})
        return usual(queryset)

    monkeypatch.setattr(models.QuerySet, "delete", delete)
    with pytest.raises(SystemExit, match="1"):
        run("prune")
    assert WebhookDelivery.objects.get() == mine


@every_database
def test_a_batch_is_repeated_when_the_database_could_not_do_it(
    database: str, days: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    days["payloads"] = 30
    rows.delivery(received_at=ago(40))
    usual, troubles = removal.empty, [OperationalError("deadlock")] * 2
    monkeypatch.setattr(time, "sleep", lambda _: None)

    def empty(ids: Any) -> int:
        if troubles:
            raise troubles.pop()
        return usual(ids)

    monkeypatch.setattr(removal, "empty", empty)
    assert prune() == Pruned(payloads=1)

    troubles = [OperationalError("no space left")] * 99
    rows.delivery(2, received_at=ago(40))
    with pytest.raises(OperationalError):
        prune()


@pytest.fixture
def another() -> Iterator[ThreadPoolExecutor]:
    """A thread with a database connection of its own."""
    with ThreadPoolExecutor(1) as pool:
        yield pool
        pool.submit(connections.close_all).result()


@every_database
@pytest.mark.parametrize("kind", ["payloads", "deliveries"])
def test_replay_that_comes_between_wins(
    database: str, days: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was looked up before: what is to be done again keeps its content and its row."""
    days[kind] = 30
    came = rows.delivery(received_at=ago(400))
    rows.run(came)
    usual = removal.finished

    def finished(found: Any) -> Any:
        chosen = list(usual(found).values_list("pk", flat=True))
        WebhookDelivery.objects.update(state=State.PROCESSING)  # as a replay does
        return WebhookDelivery.objects.filter(pk__in=chosen)

    monkeypatch.setattr(removal, "finished", finished)
    assert prune() == NOTHING
    assert WebhookDelivery.objects.get().body
    assert ReceiverRun.objects.exists()


@every_database
def test_requests_are_stored_while_old_rows_are_locked(
    database: str, static: StaticSender, another: ThreadPoolExecutor, configured: dict[str, Any]
) -> None:
    """Nobody waits for what a batch holds: not a new delivery, nor one next to the old ones."""
    if connections[database].vendor == "sqlite":
        pytest.skip("SQLite has one writer: there all wait for each batch, which is short")
    ids = [rows.delivery(number, received_at=ago(400)).pk for number in range(20)]
    with transaction.atomic(using=database):
        assert removal.empty(ids[:10]) == 10
        assert removal.delete(ids) == (20, 0)
        answer = another.submit(static.post, webhook_id="evt_0005x").result(timeout=5)

    assert answer.json() == {"status": "accepted"}
    assert WebhookDelivery.objects.get().webhook_id == "evt_0005x"


@every_database
def test_two_passes_at_the_same_time_share_the_work(
    database: str, days: dict[str, Any], another: ThreadPoolExecutor
) -> None:
    days.update(payloads=30, deliveries=365)
    for number in range(300):
        old_family(number, age=40 if number % 2 else 400)
    start = threading.Barrier(2)

    def one() -> Pruned:
        start.wait()
        return prune()

    theirs = another.submit(one)
    mine, theirs = one(), theirs.result()

    assert mine.deliveries + theirs.deliveries == 150
    assert WebhookDelivery.objects.filter(body=None).count() == 150


@every_database
def test_replay_of_what_was_emptied_says_why(database: str, days: dict[str, Any]) -> None:
    days["payloads"] = 30
    rows.delivery(received_at=ago(40))
    prune()

    with pytest.raises(CommandError, match="the body of evt_0001 was removed by retention"):
        run("replay", "evt_0001")
    with pytest.raises(PayloadPruned):
        deliveries.stored(WebhookDelivery.objects.get())


@pytest.mark.django_db
@pytest.mark.parametrize(
    "broken", [30, {"payloads": "30"}, {"payloads": 0}, {"deliveries": 1}, {"payload": 1}, None]
)
def test_a_setting_that_cannot_be_used_removes_nothing(settings: Any, broken: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"RETENTION_DAYS": broken}
    rows.delivery(received_at=ago(4000))

    with pytest.raises(ConfigurationError, match="RETENTION_DAYS"):
        prune()
    assert WebhookDelivery.objects.get().body


@pytest.mark.django_db(transaction=True)
def test_a_batch_takes_few_statements(days: dict[str, Any]) -> None:
    days["payloads"] = 30
    for number in range(50):
        old_family(number)

    with CaptureQueriesContext(connections["default"]) as queries:
        prune()
    assert len(queries) < 25


def test_batches_adapt_to_the_time_that_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    rested: list[float] = []
    monkeypatch.setattr(time, "sleep", rested.append)
    monkeypatch.setattr(pace, "REST", 1)
    slow = pace.Pace()
    for seconds in (0.01, 0.01, 0.07, 0.4, 9.0):
        slow.took(seconds)

    assert slow.size == 1
    assert rested == [0.01, 0.01, 0.07, 0.4, 1.0]
    fast = pace.Pace()
    for _ in range(9):
        fast.took(0)
    assert fast.size == pace.LARGEST_SIZE


def test_beat_prunes_every_hour() -> None:
    assert beat_schedule()["gemini-webhooks-prune"] == {
        "task": tasks.prune.name, "schedule": 3600.0,
    }  # fmt: skip


@pytest.mark.django_db
def test_long_work_says_how_far_it_is(
    days: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    days["payloads"] = 30
    for number in range(70):
        rows.delivery(number, received_at=ago(40))
    monkeypatch.setattr(retention_commands, "TELL_SECONDS", 0)
    # A busy machine would have the second step be a shorter one.
    monkeypatch.setattr(pace, "SQLITE_BATCH_SECONDS", 60)
    err = io.StringIO()
    call_command("gemini_webhooks", "prune", stdout=(out := io.StringIO()), stderr=err)

    assert err.getvalue().splitlines() == ["payloads: 50 so far", "payloads: 70 so far"]
    assert "payloads: 70" in out.getvalue().splitlines()
