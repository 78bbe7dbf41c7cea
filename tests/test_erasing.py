"""What belongs to somebody is erased on request, everywhere, and that it was is written down."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.db import connections

from gemini_webhooks import clock, deliveries, processing, retention
from gemini_webhooks.models import (
    Attempt,
    Erasure,
    Job,
    ReceiverRun,
    ResultFile,
    WebhookDelivery,
)
from gemini_webhooks.receivers import on
from gemini_webhooks.results import claims
from gemini_webhooks.retention import Erased, about_resource, erase, with_metadata
from tests.admin import rows
from tests.conftest import every_database
from tests.senders import StaticSender

PERSONAL = "ada@example.com"
State = WebhookDelivery.State


@pytest.fixture(autouse=True)
def files(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings.MEDIA_ROOT


def run(*words: str) -> str:
    call_command("gemini_webhooks", *words, stdout=(out := io.StringIO()), stderr=io.StringIO())
    return out.getvalue()


def of_somebody(number: int = 1, *, tenant: Any = "acme", **values: Any) -> WebhookDelivery:
    """A delivery, its run, result and job, all of them with something personal."""
    metadata = {"tenant": tenant, "email": PERSONAL}
    body = json.dumps({"type": "batch.succeeded", "data": {"user_metadata": metadata}}).encode()
    headers = {"user-agent": PERSONAL}
    came = rows.delivery(number, user_metadata=metadata, body=body, headers=headers, **values)
    handled = rows.run(came, last_error=f"ValueError: {PERSONAL}")
    rows.attempt(handled, traceback=f"Traceback: {PERSONAL}", error_class="ValueError")
    rows.result(
        came, file=ContentFile(PERSONAL.encode(), name="out.jsonl"), source_uri=f"gs://b/{PERSONAL}",
        error=PERSONAL,
    )  # fmt: skip
    rows.job(number, delivery=came, state=Job.State.SUCCEEDED, user_metadata=metadata)
    return came


def everything_in(alias: str) -> str:
    """All text and bytes of all tables of this app."""
    found = []
    with connections[alias].cursor() as cursor:
        for name in connections[alias].introspection.table_names(cursor):
            if name.startswith("gemini_webhooks_"):
                cursor.execute(f"SELECT * FROM {name}")
                found += [bytes(x) if isinstance(x, memoryview) else x for r in cursor for x in r]
    return repr(found)


@every_database
@pytest.mark.parametrize("words", [["--resource", "batch-1"], ["--metadata", "tenant=acme"]])
def test_nothing_personal_is_left(database: str, words: list[str], files: Path) -> None:
    came = of_somebody()
    stored = Path(ResultFile.objects.get().file.path)
    assert everything_in(database).count(PERSONAL) == 8
    assert stored.exists()

    erased = json.loads(run("erase", *words, "--yes", "--json"))

    assert erased == {"deliveries": 1, "results": 1, "jobs": 1, "awaited": 0, "left": 0}
    assert PERSONAL not in everything_in(database)
    assert not stored.exists()
    came.refresh_from_db()
    assert (came.webhook_id, came.resource_id, came.emptied_by) == (
        "evt_0001",
        "batch-1",
        "erasure",
    )
    assert came.state == State.PROCESSED
    assert ResultFile.objects.get().state == "removed"
    assert Attempt.objects.get().error_class == "ValueError"


@every_database
def test_what_belongs_to_others_stays(database: str) -> None:
    of_somebody(1)
    other, similar = of_somebody(2, tenant="bolt"), of_somebody(3, tenant="acme2")
    upper = of_somebody(4, resource_id="BATCH-1", tenant="ACME")

    assert erase(with_metadata("tenant=acme"), actor="ada").deliveries == 1
    assert erase(about_resource("batch-1"), actor="ada") == Erased(jobs=1)
    for came in (other, similar, upper):
        came.refresh_from_db()
        assert came.body
        assert came.user_metadata["email"] == PERSONAL
        assert Path(came.results.get().file.path).exists()


@every_database
@pytest.mark.parametrize(
    ("metadata", "condition", "found"),
    [
        ({"tenant": "acme"}, "tenant=acme", True),
        ({"tenant": "a=b"}, "tenant=a=b", True),
        ({"tenant": ""}, "tenant=", True),
        ({"tenant": 7}, "tenant=7", True),
        ({"tenant": "7"}, "tenant=7", True),
        ({"tenant": True}, "tenant=true", True),
        ({"tenant": None}, "tenant=null", True),
        ({"customer": {"id": 7}}, "customer.id=7", True),
        ({"owners": [{"id": "x"}, {"id": "y"}]}, "owners[*].id=y", True),
        ({"owners": ["x", "y"]}, "owners[1]=y", True),
        ({"a.b": "c"}, '["a.b"]=c', True),
        ({"x": {"id": 1}, "y": {"id": 2}}, "*.id=2", True),
        ({"tenant": "Acme"}, "tenant=acme", False),
        ({"tenant": ["acme"]}, "tenant=acme", False),
        ({"owners": ["x", "y"]}, "owners[2]=y", False),
        ({"customer": "id"}, "customer.id=7", False),
        ({}, "tenant=null", False),
    ],
)
def test_metadata_goes_by_path_and_value(
    database: str, metadata: dict[str, Any], condition: str, found: bool
) -> None:
    rows.delivery(user_metadata=metadata)
    rows.job(9, user_metadata=metadata)

    erased = erase(with_metadata(condition), actor="ada")
    assert (erased.deliveries, erased.jobs) == ((1, 1) if found else (0, 0))
    assert (WebhookDelivery.objects.get().body is None) is found
    assert (Job.objects.get().user_metadata == {}) is (found or metadata == {})


@pytest.mark.django_db
@pytest.mark.parametrize(
    "condition", ["tenant", "=acme", "", "a..b=c", "mod:func=1", "a[=1", "x" * 300 + "=1"]
)
def test_conditions_that_are_none(condition: str) -> None:
    with pytest.raises(CommandError, match="as in tenant=acme"):
        run("erase", "--metadata", condition, "--yes")
    assert not Erasure.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("resource", ["", "batches/", "x" * 300])
def test_resources_that_are_none(resource: str) -> None:
    with pytest.raises(CommandError, match="resource id"):
        run("erase", "--resource", resource, "--yes")


@every_database
@pytest.mark.parametrize("spelled", ["batches/b1", "b1"])
def test_a_resource_however_it_is_written(database: str, spelled: str) -> None:
    rows.delivery(1, resource_id="b1")
    rows.delivery(2, resource_id="batches/b1", event_type="batch.failed")
    rows.job(resource_id="b1", user_metadata={"email": PERSONAL})

    erased = erase(about_resource(spelled), actor="ada")
    assert (erased.deliveries, erased.jobs, erased.awaited) == (2, 1, 1)
    assert Job.objects.get().state == "submitted"


@every_database
@pytest.mark.parametrize("known_to", ["delivery", "job"])
def test_what_belongs_together_goes_together(database: str, known_to: str) -> None:
    """Some events say whose they are, some only what they are about; the ledger knows."""
    metadata = {"tenant": "acme"}
    rows.delivery(1, resource_id="b1", user_metadata=metadata if known_to == "delivery" else {})
    rows.delivery(2, resource_id="batches/b1", body=PERSONAL.encode())
    rows.job(
        resource_id="b1", last_error=PERSONAL, user_metadata=metadata if known_to == "job" else {}
    )
    erased = erase(with_metadata("tenant=acme"), actor="ada")

    assert (erased.deliveries, erased.jobs) == (2, 1)
    assert PERSONAL not in everything_in(database)


@every_database
def test_what_has_not_run_yet_never_will(
    database: str, static: StaticSender, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[object] = []
    on("batch.succeeded", name="slow", limit=1)(lambda **_: ran.append(1))
    static.post(static.envelope(user_metadata={"email": PERSONAL}), webhook_id="received")
    static.post(static.envelope(user_metadata={"email": PERSONAL}), webhook_id="planned")
    processing.plan(WebhookDelivery.objects.get(webhook_id="planned").pk)
    assert ReceiverRun.objects.get().lane == "slow"

    erased = erase(with_metadata(f"email={PERSONAL}"), actor="ada")
    processing.drain()
    static.post(static.envelope(user_metadata={"email": PERSONAL}), webhook_id="received")

    assert erased.deliveries == 2
    assert ran == []
    states = dict(WebhookDelivery.objects.values_list("webhook_id", "state"))
    assert states == {"received": "unreadable", "planned": "failed"}
    ended = ReceiverRun.objects.get()
    assert (ended.state, ended.lane) == ("dead", "")
    assert ended.last_error == "erased on request before it had run"
    assert PERSONAL not in everything_in(database)
    assert PERSONAL not in caplog.text


@every_database
@pytest.mark.parametrize("known_to", [WebhookDelivery, Job])
@pytest.mark.parametrize("worker", ["a receiver", "a fetch"])
def test_what_a_worker_is_at_is_left_for_the_next_time(
    database: str, worker: str, known_to: type[WebhookDelivery | Job]
) -> None:
    of_somebody(state=State.PROCESSING)
    other = Job if known_to is WebhookDelivery else WebhookDelivery
    other.objects.update(user_metadata={})
    sibling = rows.delivery(2, resource_id="batch-1", body=PERSONAL.encode())
    lease = {"lease_until": clock.after(60), "claim": "c"}
    busy: Any = (
        rows.run(sibling, state=ReceiverRun.State.RUNNING, **lease)
        if worker == "a receiver"
        else rows.result(sibling, state=ResultFile.State.FETCHING, **lease)
    )

    counted = json.loads(run("erase", "--metadata", "tenant=acme", "--dry-run", "--json"))
    assert counted["left"] == 1
    with pytest.raises(SystemExit, match="1"):
        run("erase", "--metadata", "tenant=acme", "--yes")
    sibling.refresh_from_db()
    assert sibling.body
    # What it is found by the next time.
    assert known_to.objects.order_by("pk")[0].user_metadata["tenant"] == "acme"
    assert Erasure.objects.get().left == 1

    type(busy).objects.update(lease_until=clock.after(-1))  # the worker is gone
    assert erase(with_metadata("tenant=acme"), actor="ada").left == 0
    assert PERSONAL not in everything_in(database)


class Meanwhile(FileSystemStorage):
    """While it deletes, a worker claims what is due."""

    def delete(self, name: str) -> None:
        for pk in ReceiverRun.objects.filter(state="pending").values_list("pk", flat=True):
            assert deliveries.claim(pk)
        super().delete(name)


@every_database
def test_worker_that_comes_in_between_is_seen(database: str, settings: Any) -> None:
    came = of_somebody(state=State.PROCESSING)
    rows.run(came, "late", state=ReceiverRun.State.PENDING, next_attempt_at=clock.now())
    settings.STORAGES = {
        **settings.STORAGES, "default": {"BACKEND": "tests.test_erasing.Meanwhile"},
    }  # fmt: skip

    assert erase(about_resource("batch-1"), actor="ada").left == 1
    came.refresh_from_db()
    assert came.body
    assert ReceiverRun.objects.get(receiver="late").state == "running"


@every_database
def test_worker_that_comes_back_too_late_writes_nothing(database: str) -> None:
    came = of_somebody(state=State.PROCESSING)
    late = rows.run(came, "late", state=ReceiverRun.State.PENDING, next_attempt_at=clock.now())
    fetched = rows.result(
        came, position=1, state=ResultFile.State.PENDING, next_attempt_at=clock.now()
    )
    held, claim = deliveries.claim(late.pk), claims.take(fetched.pk)
    assert held is not None
    assert claim is not None
    past = clock.now() - timedelta(minutes=5)
    ReceiverRun.objects.filter(pk=late.pk).update(lease_until=past)
    ResultFile.objects.filter(pk=fetched.pk).update(lease_until=past)

    assert erase(about_resource("batch-1"), actor="ada").left == 0

    with pytest.raises(deliveries.LeaseLost):
        deliveries.retry(held, ValueError(PERSONAL), 0)
    with pytest.raises(claims.ClaimLost):
        claims.complete(claim, file=PERSONAL)
    assert PERSONAL not in everything_in(database)


@every_database
def test_a_find_that_was_erased_is_not_filled_again_by_its_event(
    database: str, static: StaticSender
) -> None:
    static.post(static.envelope(id="b1"), webhook_id="m")
    WebhookDelivery.objects.update(source="reconciler", webhook_id="found")
    erase(about_resource("b1"), actor="ada")

    again = static.post(static.envelope(id="b1", user_metadata={"email": PERSONAL}))

    assert again.json() == {"status": "duplicate"}
    assert PERSONAL not in everything_in(database)


@every_database
def test_it_is_written_down_without_what_it_was_about(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    of_somebody(1)
    of_somebody(2)
    erase(with_metadata(f"email={PERSONAL}"), actor="ada")
    erase(about_resource("b9"), actor="ben")

    by_value, by_resource = Erasure.objects.order_by("pk")
    assert (by_value.kind, by_value.subject, by_value.actor) == ("metadata", "email", "ada")
    assert (by_value.deliveries, by_value.results, by_value.jobs, by_value.left) == (2, 2, 2, 0)
    assert by_value.finished_at >= by_value.started_at
    assert (by_resource.kind, by_resource.subject, by_resource.deliveries) == ("resource", "b9", 0)
    assert by_resource.digest == ""
    assert f"erasure {by_value.pk} by ada: 2 deliveries" in caplog.text
    assert PERSONAL not in caplog.text
    # The digest shows that it was this value, to who has the key and the value.
    erase(with_metadata(f"contact={PERSONAL}"), actor="ada")
    assert Erasure.objects.latest("pk").digest == by_value.digest
    erase(with_metadata("email=x"), actor="ada")
    assert Erasure.objects.latest("pk").digest != by_value.digest


@every_database
def test_an_interruption_is_seen_and_made_good(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        of_somebody(number)
    usual, calls = deliveries.erase, []

    def erase_until(pk: int) -> bool:
        calls.append(pk)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return usual(pk)

    monkeypatch.setattr(deliveries, "erase", erase_until)
    with pytest.raises(KeyboardInterrupt):
        erase(with_metadata("tenant=acme"), actor="ada")
    assert Erasure.objects.get().finished_at is None

    assert erase(with_metadata("tenant=acme"), actor="ada").deliveries == 2
    assert PERSONAL not in everything_in(database)


@every_database
def test_retention_does_not_hide_it(database: str, settings: Any) -> None:
    """What retention has emptied still has a file, and is erased by its resource."""
    came = of_somebody(received_at=clock.now() - timedelta(days=40))
    retention.prune()
    assert WebhookDelivery.objects.get().emptied_by == "retention"
    assert PERSONAL in everything_in(database)  # the name of the object

    assert erase(about_resource(came.resource_id), actor="ada").results == 1
    assert WebhookDelivery.objects.get().emptied_by == "erasure"
    assert PERSONAL not in everything_in(database)


@pytest.mark.django_db
def test_dry_run_erases_nothing() -> None:
    of_somebody()
    counted = json.loads(run("erase", "--metadata", "tenant=acme", "--dry-run", "--json"))

    assert counted == {
        "dry_run": True, "deliveries": 1, "results": 1, "jobs": 1, "awaited": 0, "left": 0,
    }  # fmt: skip
    assert WebhookDelivery.objects.get().body
    assert not Erasure.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("typed", "is_erased"), [("tenant=acme", True), ("yes", False), ("", False), (None, False)]
)
def test_it_asks_before(
    monkeypatch: pytest.MonkeyPatch, typed: str | None, is_erased: bool
) -> None:
    of_somebody()
    asked = []

    def answer(question: str) -> str:
        asked.append(question)
        if typed is None:
            raise EOFError
        return typed

    monkeypatch.setattr("builtins.input", answer)
    if is_erased:
        run("erase", "--metadata", "tenant=acme")
    else:
        with pytest.raises(CommandError, match=r"Nothing was erased\."):
            run("erase", "--metadata", "tenant=acme")

    assert "Erase 1 deliveries, 1 result files and the metadata of 1 jobs?" in asked[0]
    assert (WebhookDelivery.objects.get().body is None) is is_erased


@pytest.mark.django_db
def test_job_that_has_not_ended_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    rows.job(resource_id="b1", user_metadata={"tenant": "acme"})
    err = io.StringIO()
    call_command(
        "gemini_webhooks", "erase", "--resource", "b1", "--yes", stdout=io.StringIO(), stderr=err
    )
    assert "their events will come" in err.getvalue()


@pytest.mark.django_db
def test_a_file_that_cannot_be_deleted_is_left(settings: Any) -> None:
    of_somebody()
    usual = settings.STORAGES
    settings.STORAGES = {**usual, "default": {"BACKEND": "tests.test_retention.Refusing"}}
    assert erase(with_metadata("tenant=acme"), actor="ada").left == 1
    assert WebhookDelivery.objects.get().user_metadata["tenant"] == "acme"

    settings.STORAGES = usual
    assert erase(with_metadata("tenant=acme"), actor="ada") == Erased(
        deliveries=1, results=1, jobs=1
    )
