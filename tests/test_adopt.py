"""``adopt``: the day on which a loop that polls is replaced."""

from __future__ import annotations

import gc
import io
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gemini_webhooks import gateway, jobs, processing, receivers, registration
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.models import Job, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.reconcile import asking, reconcile
from tests.conftest import every_database
from tests.senders import StaticSender, envelope
from tests.site.models import Effect

pytest.importorskip("google.genai", reason="needs the extra [genai]")

sqlite = pytest.mark.django_db
MODEL = "gemini-2.5-flash"
UNTOLD = "No webhook is registered with API key default for batches, so no event will come"
KEY = "key-that-is-shown-nowhere"


class Polling:
    """A site with code that starts jobs, and waits for them in a loop."""

    def __init__(self, server: EmulatorServer, settings: dict[str, Any]) -> None:
        self.server = server
        self.emulator = server.emulator
        self.settings = settings

    @property
    def client(self) -> Any:
        """The SDK's; the same as the command's, as each new one costs a third of a second."""
        return gateway._client(os.getpid(), KEY, self.server.url)

    def batch(self, display_name: str = "nightly-1") -> str:
        request = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        config = {"display_name": display_name}
        return self.client.batches.create(model=MODEL, src=[request], config=config).name

    def interaction(self) -> str:
        return self.client.interactions.create(model=MODEL, input="hello", background=True).id

    def ends(self, name: str, outcome: str = "succeeded", *, hours_ago: float = 0) -> None:
        kind = self.emulator.batches if name.startswith("batches/") else self.emulator.interactions
        job = kind.get(bare(name))
        job.outcome = outcome
        job.updated = datetime.now(UTC) - timedelta(hours=hours_ago)


@pytest.fixture
def serve(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Polling]]:
    servers: list[EmulatorServer] = []
    settings.MEDIA_ROOT = tmp_path / "media"

    def start(**options: Any) -> Polling:
        server = EmulatorServer(**{"job_seconds": 600, "output": "inline", **options})
        server.__enter__()
        servers.append(server)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": "http://127.0.0.1:1",
            "API_KEYS": {"default": KEY, "empty": ""},
            "RETRY_BASE_SECONDS": 0,
        }
        return Polling(server, settings.GEMINI_WEBHOOKS)

    yield start
    for server in servers:
        server.__exit__(None, None, None)
    if gateway._client.cache_info().currsize:
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture
def polling(serve: Callable[..., Polling]) -> Polling:
    return serve()


def bare(name: str) -> str:
    return name.rpartition("/")[2]


def adopt(*words: str, code: int = 0) -> str:
    """What is printed; the exit code has to be this one."""
    out, ended = io.StringIO(), 0
    try:
        call_command("gemini_webhooks", "adopt", *words, stdout=out, stderr=out)
    except SystemExit as end:
        ended = int(end.code or 0)
    assert ended == code, out.getvalue()
    return out.getvalue()


def report(*words: str, code: int = 0) -> Any:
    return json.loads(adopt("--json", "--yes", *words, code=code))


def standings(found: Any) -> dict[str, str]:
    return {each["name"]: each["standing"] for each in found["jobs"]}


def ledger() -> list[str]:
    return sorted(Job.objects.values_list("name", flat=True))


# --- what runs


@every_database
def test_the_end_of_an_adopted_batch_reaches_a_receiver_that_asks_for_its_metadata(
    database: str, polling: Polling
) -> None:
    @receivers.on("batch.succeeded", metadata={"group": "nightly", "run": 7})
    def note(event: Any, **_: Any) -> None:
        Effect.objects.create(receiver=event.user_metadata["group"], webhook_id=event.resource_id)

    name = polling.batch()
    given = ["--metadata", "group=nightly", "--metadata", "run=7"]

    first = report(*given)
    assert (first["adopted"], standings(first)) == (1, {name: "new"})
    assert reconcile().running == (bare(name),)  # asked at once, and then as usual
    assert reconcile().checked == 0

    polling.ends(name)
    Job.objects.update(due_at=datetime.now(UTC) - timedelta(seconds=1))
    assert reconcile().found == (bare(name),)
    processing.drain()
    assert list(Effect.objects.values_list("receiver", "webhook_id")) == [("nightly", bare(name))]

    again = report(*given)
    assert (again["adopted"], standings(again)) == (0, {})  # of what has ended, nothing is shown
    assert Job.objects.get().state == "succeeded"


@every_database
def test_adopting_twice_adopts_nothing_twice(database: str, polling: Polling) -> None:
    names = [polling.batch(), polling.batch()]
    report("--metadata", "tenant=acme")

    again = report("--metadata", "tenant=bolt")

    assert again["adopted"] == 0
    assert standings(again) == dict.fromkeys(names, "tracked")
    assert ledger() == sorted(names)
    assert {job.user_metadata["tenant"] for job in Job.objects.all()} == {"acme"}


@sqlite
def test_row_tells_when_it_was_submitted_and_where_it_belongs(polling: Polling) -> None:
    polling.ends(name := polling.batch(), outcome="")
    created = polling.emulator.batches.get(bare(name)).created
    endpoint = WebhookEndpoint.objects.create(slug="reports")
    before = datetime.now(UTC)

    report("--endpoint", "reports", "--due-in", "90")

    job = Job.objects.get()
    assert (job.kind, job.api_key_name, job.endpoint, job.state) == (
        "batch",
        "default",
        endpoint,
        "submitted",
    )
    assert job.submitted_at == created
    assert timedelta(seconds=80) < job.due_at - before < timedelta(seconds=100)


@sqlite
def test_without_use_tz(polling: Polling, settings: Any) -> None:
    settings.USE_TZ = False
    polling.batch()

    assert report()["adopted"] == 1
    assert reconcile().checked == 1


@sqlite
def test_only_batches_of_this_site_are_taken(polling: Polling) -> None:
    mine, other = polling.batch("nightly-1"), polling.batch("theirs")

    assert standings(report("--match", "nightly-*")) == {mine: "new"}
    assert ledger() == [mine]
    assert other not in adopt("--match", "nightly-*", "--yes")


@sqlite
def test_a_dry_run_enters_nothing(polling: Polling) -> None:
    name = polling.batch()

    printed = adopt("--dry-run")

    assert name in printed
    assert "would adopt: 1" in printed
    assert not Job.objects.exists()


@sqlite
def test_the_limit_leaves_the_rest_for_the_next_time(polling: Polling) -> None:
    for _ in range(3):
        polling.batch()

    assert "left: 1" in adopt("--yes", "--limit", "2")
    assert (report("--limit", "2")["adopted"], Job.objects.count()) == (1, 3)


@sqlite
def test_projects_of_several_keys(serve: Callable[..., Polling]) -> None:
    polling = serve(separate_projects=True)
    polling.settings["API_KEYS"]["other"] = "other-key"
    client = gateway._client(os.getpid(), "other-key", polling.server.url)
    mine = polling.batch()
    theirs = client.interactions.create(model=MODEL, input="x", background=True).id

    report("--api-key", "default")
    report(theirs)

    assert ledger() == sorted([mine, theirs])


@sqlite
def test_keys_of_one_project_list_a_batch_once(polling: Polling) -> None:
    polling.settings["API_KEYS"]["other"] = "other-key"
    name = polling.batch()

    assert [each["name"] for each in report()["jobs"]] == [name]
    assert Job.objects.get().api_key_name == "default"


# --- what has ended


@every_database
def test_what_ended_and_never_told_is_processed_if_that_is_wanted(
    database: str, polling: Polling
) -> None:
    name = polling.batch()
    polling.ends(name, hours_ago=1)

    assert (report()["ended"], ledger()) == (1, [])
    assert "--ended takes in" in adopt("--yes")
    assert standings(report("--ended", "--hours", "0.5")) == {}
    assert report("--ended")["adopted"] == 1

    assert reconcile().found == (bare(name),)


@sqlite
def test_end_that_was_told_of_is_not_told_again(polling: Polling) -> None:
    static = StaticSender()
    polling.settings["SIGNING_SECRETS"] = [static.secret]
    name = polling.batch()
    polling.ends(name)
    static.post(envelope(id=bare(name)))

    assert standings(report("--ended")) == {name: "told"}
    assert WebhookDelivery.objects.count() == 1
    assert not Job.objects.exists()


@sqlite
def test_event_that_comes_while_somebody_is_asked(
    polling: Polling, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = StaticSender()
    polling.settings["SIGNING_SECRETS"] = [static.secret]
    name = polling.batch()

    def answer(question: str) -> str:
        static.post(envelope(id=bare(name)))
        return "1"

    monkeypatch.setattr("builtins.input", answer)
    adopt()

    assert Job.objects.get().state == "succeeded"
    assert reconcile().checked == 0


# --- by name


@every_database
def test_jobs_that_google_does_not_list_are_adopted_by_name(
    database: str, polling: Polling, tmp_path: Path
) -> None:
    batch, waiting, running = polling.batch(), polling.interaction(), polling.interaction()
    polling.ends(waiting, "requires_action")
    names = tmp_path / "names.txt"
    names.write_text(f"{batch}\n\n  {waiting}\n{batch}\ninteractions/{running}\n")

    found = report("--file", str(names))

    assert standings(found) == {batch: "new", waiting: "new", running: "new"}
    assert set(Job.objects.values_list("name", "kind")) == {
        (batch, "batch"),
        (waiting, "interaction"),
        (running, "interaction"),
    }
    assert reconcile().found == (waiting,)
    assert WebhookDelivery.objects.get().event_type == "interaction.requires_action"


@sqlite
def test_videos_are_adopted_by_name(polling: Polling, monkeypatch: pytest.MonkeyPatch) -> None:
    """SDK 3.x starts no videos; they are read by both."""
    name = "models/veo/operations/op-1"
    running = gateway.RemoteJob(name=name, state="running")
    monkeypatch.setitem(asking.READ, "operation", lambda **_: running)

    report(name)

    assert (Job.objects.get().kind, Job.objects.get().name) == ("operation", name)


@sqlite
def test_names_that_lead_nowhere_do_not_stop_the_others(polling: Polling) -> None:
    good, over = polling.batch(), polling.batch()
    polling.ends(over, hours_ago=100)
    bad = ["batches/gone", "files/abc", "..", "a b", f"batches/{'x' * 300}"]

    found = report(good, over, *bad, code=1)
    printed = adopt(good, over, *bad, "--yes", code=1)

    listed = standings(found)
    assert listed.pop(f"batches/{'x' * 247}") == "failed"
    assert listed == {
        good: "new",
        over: "ended",
        "batches/gone": "unknown",
        "files/abc": "failed",
        "..": "failed",
        "a b": "failed",
    }
    assert ledger() == [good]
    assert "Google does not know it" in printed
    assert "no name of a job" in printed
    assert standings(report(over, "--ended")) == {over: "old"}


@sqlite
def test_names_from_standard_input(polling: Polling, monkeypatch: pytest.MonkeyPatch) -> None:
    name = polling.interaction()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{name}\n"))

    assert report("--file", "-")["adopted"] == 1


# --- asking


@sqlite
@pytest.mark.parametrize(("typed", "entered"), [("2", 2), ("yes", 0), (None, 0)])
def test_the_number_is_asked_for(
    polling: Polling, monkeypatch: pytest.MonkeyPatch, typed: str | None, entered: int
) -> None:
    polling.batch()
    polling.batch()

    def answer(question: str) -> str:
        assert "Enter 2 of them in the ledger? Type 2" in question
        if typed is None:
            raise EOFError
        return typed

    monkeypatch.setattr("builtins.input", answer)
    if entered:
        adopt()
    else:
        with pytest.raises(CommandError, match="Nothing was entered"):
            adopt()

    assert Job.objects.count() == entered


@sqlite
def test_table_obeys_nobody_s_orders(polling: Polling) -> None:
    polling.batch("\x1b[2Jnightly")

    printed = adopt("--yes")

    assert "\x1b" not in printed
    head, row = printed.splitlines()[:2]
    assert head.split() == ["NAME", "DISPLAY", "NAME", "STATE", "CREATED", "HERE"]
    assert row.index("JOB_STATE_RUNNING") == head.index("STATE")
    assert r"\x1b[2Jnightly" in row
    assert row.endswith("new")
    assert KEY not in printed


@sqlite
@pytest.mark.parametrize(
    ("subscribed", "said"),
    [
        (None, "Google tells reports of batches of API key default."),
        (
            ["batch.succeeded", "batch.failed", "batch.cancelled"],
            "of batches of API key default, but not of batch.expired.",
        ),
        (["video.generated"], f"{UNTOLD}. `manage.py gemini_webhooks reconcile` (or its beat"),
    ],
)
def test_what_happens_next_is_said(
    polling: Polling, subscribed: list[str] | None, said: str
) -> None:
    given = {"subscribed_events": subscribed} if subscribed else {}
    endpoint = registration.create("reports", **given)
    polling.batch()

    printed = adopt("--dry-run")
    assert said in printed
    assert "first on its next pass" in printed
    assert "first in 60 s" in adopt("--dry-run", "--due-in", "60")

    registration.disable(endpoint)
    assert f"{UNTOLD}. " in adopt("--dry-run")
    polling.settings["SIGNING_SECRETS"] = ["whsec_" + "a" * 32]
    assert f"{UNTOLD}, unless one is that SIGNING_SECRETS" in adopt("--dry-run")


@sqlite
def test_pattern_that_nothing_matches(polling: Polling) -> None:
    polling.batch("weekly")
    polling.ends(polling.batch("weekly-before"))
    adopt("--yes", "--match", "weekly")
    polling.batch("yearly")

    printed = adopt("--match", "nightly-*")

    assert printed == "adopted: 0\nmatched: 0 (with another display name, 2 run)\n"
    assert "others_running" not in report("--match", "yearly")


# --- trouble


@sqlite
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--api-key", "nobody"], "has no key 'nobody'"),
        (["--api-key", "empty"], "has no key 'empty'"),
        (["--endpoint", "nowhere"], "There is no endpoint “nowhere”"),
        (["--metadata", "tenant"], "as in tenant=acme"),
        (["--metadata", "=acme"], "as in tenant=acme"),
        (["--metadata", "n=NaN"], "--metadata: "),
        (["--metadata", "gemini_webhooks_seal=x"], "reserved"),
        (["--match", "x", "batches/a"], "does not go with names"),
        (["--file", "/nowhere/names"], "/nowhere/names cannot be read: No such file"),
        (["--file", "/dev/null"], "/dev/null holds no names"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: Any, words: list[str], said: str) -> None:
    settings.GEMINI_WEBHOOKS = {"API_KEYS": {"default": KEY, "empty": ""}}
    with pytest.raises(CommandError) as refused:
        adopt(*words)

    assert said in str(refused.value)


@sqlite
def test_file_that_is_no_text(settings: Any, tmp_path: Path) -> None:
    settings.GEMINI_WEBHOOKS = {"API_KEYS": {"default": KEY}}
    (tmp_path / "names").write_bytes(b"\xff\xfe")

    with pytest.raises(CommandError, match="no text in UTF-8"):
        adopt("--file", str(tmp_path / "names"))


@sqlite
def test_site_without_an_api_key(settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"API_KEYS": {"default": ""}}

    with pytest.raises(CommandError, match="GEMINI_API_KEY"):
        adopt()


@sqlite
def test_google_that_does_not_answer(polling: Polling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1")

    printed = adopt("--yes", code=1)
    named = report("batches/a", code=1)

    assert "batches of API key default not listed: the Gemini API gave no usable answer" in printed
    assert "adopted: 0" in printed
    assert named["jobs"][0]["standing"] == "failed"
    assert KEY not in printed


@sqlite
def test_key_that_is_refused_does_not_stop_another(serve: Callable[..., Polling]) -> None:
    polling = serve(api_key=KEY)
    polling.settings["API_KEYS"] = {"bad": "wrong-key", "default": KEY}
    name, interaction = polling.batch(), polling.interaction()

    found = report(code=1)
    assert (found["adopted"], len(found["failures"])) == (1, 1)
    assert report(interaction)["adopted"] == 1
    assert report("gone", code=1)["jobs"][0]["standing"] == "failed"
    assert ledger() == sorted([name, interaction])
    assert Job.objects.get(name=name).api_key_name == "default"


@sqlite
def test_tracked_by_the_site_itself_meanwhile(
    polling: Polling, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = polling.batch()

    def answer(question: str) -> str:
        jobs.track(name, user_metadata={"by": "site"})
        return "1"

    monkeypatch.setattr("builtins.input", answer)

    assert "adopted: 0" in adopt()
    assert Job.objects.get().user_metadata == {"by": "site"}
