"""Jobs whose event never came: what Google is asked, and what happens if the event comes too."""

from __future__ import annotations

import gc
import io
import json
import logging
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections, transaction
from django.utils import timezone

import gemini_webhooks
from gemini_webhooks import (
    clock,
    dispatch,
    gateway,
    jobs,
    processing,
    receivers,
    registration,
    signals,
    tasks,
)
from gemini_webhooks.deliveries import recording
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.exceptions import ConfigurationError, GatewayError, UnsuitableJob
from gemini_webhooks.models import Job, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.reconcile import Report, asking, ledger, passes, reconcile
from tests.celery_app import app
from tests.conftest import every_database
from tests.senders import StaticSender, envelope, new_id
from tests.site.models import Effect

genai = pytest.importorskip("google.genai", reason="needs the extra [genai]")

sqlite = pytest.mark.django_db(transaction=True)
MODEL = "gemini-2.5-flash"
NAIVE = datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)
SIGNALS = [value for value in vars(signals).values() if isinstance(value, signals.EventSignal)]
TYPED = [
    signal for signal in SIGNALS if signal not in (signals.event_received, signals.result_ready)
]


def note(event: Any, **_: Any) -> None:
    """A receiver that leaves one row for each time that it ran."""
    Effect.objects.create(receiver=event.type, webhook_id=event.resource_id)


def effects() -> list[tuple[str, str]]:
    return sorted(Effect.objects.values_list("receiver", "webhook_id"))


class Site:
    """A site, an emulator that loses what it is to deliver, and what time does to jobs."""

    def __init__(self, server: EmulatorServer) -> None:
        self.server = server
        self.emulator = server.emulator

    def batch(self, text: str = "hi", **options: Any) -> Any:
        request = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        return jobs.submit_batch(model=MODEL, src=[request], **options)

    def failing_batch(self, **options: Any) -> Any:
        client = gateway._client(1, "any-key", gateway.base_url())
        file = client.files.upload(
            file=io.BytesIO(b"not JSONL"), config={"mime_type": "text/plain"}
        )
        return jobs.submit_batch(model=MODEL, src=file.name, **options)

    def untracked(self, metadata: dict[str, Any] | None = None) -> Any:
        client = gateway._client(1, "any-key", gateway.base_url())
        request = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        notice = {"webhook_config": jobs.webhook_config(metadata)} if metadata else {}
        return client.batches.create(model=MODEL, src=[request], config=notice)

    def video(self) -> str:
        """Started over HTTP: SDK 3.x does not start any."""
        request = urllib.request.Request(
            f"{self.server.url}/v1beta/models/veo:predictLongRunning",
            data=b'{"instances": [{"prompt": "a cat"}]}',
            headers={"x-goog-api-key": "any-key", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["name"]

    def wait(self) -> None:
        assert self.emulator.outbox.wait_idle(20)

    def a_day_passes(self, hours: float = 25) -> None:
        for job in Job.objects.all():
            job.submitted_at -= timedelta(hours=hours)
            job.due_at -= timedelta(hours=hours)
            job.save()

    def ended(self, *batches: Any, hours: float = 25) -> None:
        """Let it be so long ago that Google says that they ended."""
        for batch in batches:
            self.emulator.batches.get(bare(batch)).updated -= timedelta(hours=hours)

    def the_events_come(self) -> list[int | None]:
        before = len(self.emulator.outbox.tries)
        self.emulator.outbox.send_lost()
        self.wait()
        return [tried.status for tried in self.emulator.outbox.tries[before:]]


@pytest.fixture
def serve(
    settings: Any, tmp_path: Path, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Site]]:
    servers: list[EmulatorServer] = []
    settings.MEDIA_ROOT = tmp_path / "media"

    def start(**options: Any) -> Site:
        given = {"job_seconds": 0, "lost": 1.0, "retry_base": 0.01, "output": "files", **options}
        server = EmulatorServer(**given)
        server.__enter__()
        servers.append(server)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": live_server.url,
            "AUDIENCES": [f"{live_server.url}/webhooks/gemini/"],
            "JWKS_URL": f"{server.url}/.well-known/jwks.json",
            "API_KEYS": {"default": "any-key", "other": "", "third": "third-key"},
            "RETRY_BASE_SECONDS": 0,
        }
        return Site(server)

    yield start
    for server in servers:
        server.__exit__(None, None, None)
    gateway._client.cache_clear()
    gc.collect()


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    return serve()


@pytest.fixture
def noting() -> None:
    for signal in TYPED:
        signal.connect(note, weak=False)


def the_job() -> Job:
    return Job.objects.get()


def the_delivery() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def bare(resource: Any) -> str:
    return (getattr(resource, "name", None) or resource.id).rpartition("/")[2]


# Nothing stays unnoticed -------------------------------------------------------------------


@every_database
@pytest.mark.usefixtures("noting")
def test_no_finished_job_stays_unnoticed_when_a_day_of_deliveries_is_lost(
    database: str, site: Site
) -> None:
    metadata = {"tenant": "acme"}
    good = site.batch(user_metadata=metadata)
    bad = site.failing_batch(user_metadata=metadata)
    answer = jobs.submit_interaction(model=MODEL, input="hello", user_metadata=metadata)
    refusal = jobs.submit_interaction(model=MODEL, input="fail-row", user_metadata=metadata)
    film = site.video()
    jobs.track(film, user_metadata=metadata)
    site.wait()
    assert site.emulator.outbox.tries == []
    assert reconcile().checked == 0  # nothing is due yet

    site.a_day_passes()
    report = reconcile()
    processing.drain()

    assert (report.checked, len(report.found), report.left) == (5, 5, 0)
    assert effects() == sorted(
        [
            ("batch.succeeded", bare(good)),
            ("batch.failed", bare(bad)),
            ("interaction.completed", bare(answer)),
            ("interaction.failed", bare(refusal)),
            ("video.generated", film.rpartition("/")[2]),
        ]
    )
    for delivery in WebhookDelivery.objects.all():
        assert (delivery.source, delivery.signing, delivery.state) == (
            "reconciler",
            "none",
            "processed",
        )
        assert delivery.user_metadata == metadata
        job = Job.objects.get(resource_id=delivery.resource_id)
        assert (job.delivery, job.last_error) == (delivery, "")
        assert job.state == ("failed" if delivery.event_type.endswith(".failed") else "succeeded")
        assert job.checked_at is not None
    fetched = {
        result.delivery.event_type: result.state
        for delivery in WebhookDelivery.objects.all()
        for result in delivery.results.all()
    }
    assert fetched == {"batch.succeeded": "complete", "video.generated": "complete"}

    assert reconcile() == Report(
        checked=0, found=(), known=(), running=(), lost=(), failed=(), discovered=(), left=0
    )


@sqlite
def test_event_says_what_google_would_have_said(site: Site) -> None:
    events: list[Any] = []
    for signal in TYPED:
        signal.connect(lambda event, **_: events.append(event), weak=False, dispatch_uid=object())
    batch = site.failing_batch()
    jobs.submit_interaction(model=MODEL, input="fail-row")
    site.wait()
    ended = site.emulator.batches.get(bare(batch)).updated
    site.a_day_passes()
    reconcile()
    processing.drain()

    by_type = {event.type: event for event in events}
    assert by_type["batch.failed"].error_code == "3"
    assert "JSONL" in by_type["batch.failed"].error_message
    assert by_type["batch.failed"].occurred_at == ended
    assert by_type["interaction.failed"].error_code == "3"


@sqlite
@pytest.mark.parametrize("output", ["files", "inline", "gcs"])
def test_output_is_named_as_the_event_would_have_named_it(
    serve: Callable[..., Site], output: str
) -> None:
    site = serve(output=output, bucket="mine")
    batch = site.batch()
    site.wait()
    site.a_day_passes()
    reconcile()

    data = the_delivery().payload["data"]
    [field] = {*data} - {"id", "user_metadata"} or {""}
    assert field == {"files": "file_name", "inline": "", "gcs": "output_file_uri"}[output]
    assert data["id"] == bare(batch)
    processing.plan(the_delivery().pk)
    [result] = the_delivery().results.all()
    assert result.source_uri.startswith(
        {"gcs": "gs://mine/", "inline": "batches/"}.get(output, "files/")
    )


@sqlite
@pytest.mark.parametrize("status", ["incomplete", "budget_exceeded"])
@pytest.mark.usefixtures("noting")
def test_interaction_that_was_cut_short_failed(site: Site, status: str) -> None:
    interaction = jobs.submit_interaction(model=MODEL, input="hello")
    site.wait()
    site.emulator.interactions.get(interaction.id).outcome = status
    site.a_day_passes()
    reconcile()

    assert the_delivery().event_type == "interaction.failed"
    assert the_delivery().payload["data"]["error_code"] == status


@sqlite
def test_video_that_failed_reaches_event_received(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Google documents no event for it."""
    signals.event_received.connect(note, weak=False)
    film = site.video()
    jobs.track(film)
    site.wait()
    site.a_day_passes()
    failed = gateway.RemoteJob(name=film, state="failed", error=("13", "no"))
    monkeypatch.setitem(asking.READ, "operation", lambda **_: failed)
    reconcile()
    processing.drain()

    assert effects() == [("video.failed", bare_of(film))]
    assert the_job().state == "failed"


def bare_of(name: str) -> str:
    return name.rpartition("/")[2]


# The same event, whichever came first ------------------------------------------------------


@every_database
@pytest.mark.parametrize("dynamic", [True, False], ids=["dynamic", "static"])
@pytest.mark.usefixtures("noting")
def test_event_that_comes_after_all_is_a_duplicate(
    database: str, site: Site, settings: Any, dynamic: bool
) -> None:
    if not dynamic:
        registration.create("acme")
    batch = site.batch(dynamic=dynamic)
    site.wait()
    site.a_day_passes()
    assert reconcile().found == (bare(batch),)
    processing.drain()

    assert site.the_events_come() == [200]
    processing.drain()

    assert the_delivery().duplicate_count == 1
    assert effects() == [("batch.succeeded", bare(batch))]


@every_database
@pytest.mark.usefixtures("noting")
def test_event_before_the_reconciler_leaves_it_nothing_to_do(database: str, site: Site) -> None:
    batch = site.batch()
    site.wait()
    assert site.the_events_come() == [200]  # not before the job is in the ledger
    site.a_day_passes()

    assert reconcile().known == (bare(batch),)  # no worker has taken the event up yet
    assert (the_delivery().source, the_delivery().duplicate_count) == ("webhook", 0)
    assert (the_job().state, the_job().delivery) == ("succeeded", the_delivery())
    processing.drain()
    assert reconcile().checked == 0
    assert effects() == [("batch.succeeded", bare(batch))]


@every_database
@pytest.mark.parametrize("sent_id", ["x1", "batches/x1"])
def test_retries_of_a_recognised_event_are_duplicates_too(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch, sent_id: str
) -> None:
    found_at_google(monkeypatch, "batches/x1")
    reconcile()
    webhook_id = new_id()

    for count in range(1, 4):
        answer = static.post(static.envelope(id=sent_id), webhook_id=webhook_id)
        assert (answer.status_code, answer.json()) == (200, {"status": "duplicate"})
        assert the_delivery().duplicate_count == count
    assert static.post(static.envelope(id="X1")).json() == {"status": "accepted"}
    assert static.post(static.envelope("batch.failed", id="x1")).json() == {"status": "accepted"}


@every_database
@pytest.mark.parametrize("tracked", [True, False])
def test_events_of_their_own_stay_events_of_their_own(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    answers = [static.post(static.envelope(id="x1")).json()["status"] for _ in range(3)]
    if tracked:
        found_at_google(monkeypatch, "batches/x1")
        assert reconcile().checked == 0  # the event settled it when it was entered

    assert answers == ["accepted"] * 3
    assert WebhookDelivery.objects.count() == 3


@every_database
def test_delivery_that_the_version_before_stored_counts(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_at_google(monkeypatch, "batches/x1")
    static.post(static.envelope(id="batches/x1"))
    WebhookDelivery.objects.update(occasion=None)

    assert reconcile().known == ("x1",)
    assert the_delivery().source == "webhook"


@every_database
def test_the_insert_decides_if_both_see_nothing(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is stored after the reconciler looked for it and before it stores its own."""
    found_at_google(monkeypatch, "batches/x1")
    looked = recording.told_of

    def look_too_early(*names: str) -> Any:
        static.post(static.envelope(id="x1"))
        return looked(*names).none()

    monkeypatch.setattr(recording, "told_of", look_too_early)

    assert reconcile().known == ("x1",)
    assert (the_delivery().source, the_delivery().duplicate_count) == ("webhook", 0)
    assert the_job().delivery == the_delivery()


@every_database
@pytest.mark.usefixtures("noting")
def test_event_and_passes_at_the_same_moment_are_one_delivery(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, two passes and two events of Google's race for the same job."""
    rounds = 12
    for number in range(rounds):
        jobs.track(f"batches/x{number}", due_at=datetime.now(UTC) - timedelta(hours=1))
    ended = [
        gateway.RemoteJob(name=f"batches/x{n}", state="JOB_STATE_SUCCEEDED") for n in range(rounds)
    ]
    start = threading.Barrier(3)

    def find(number: int) -> None:
        job = Job.objects.get(resource_id=f"x{number}")
        start.wait(20)
        asking._settle(job, ended[number])

    def send(number: int) -> None:
        start.wait(20)
        assert (
            static.post(static.envelope(id=f"x{number}"), webhook_id=f"m{number}").status_code
            == 200
        )

    def closing(work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        for number in range(rounds):
            racing = [pool.submit(closing, work, number) for work in (find, send, find)]
            for one in racing:
                one.result(timeout=60)
    processing.drain()

    assert WebhookDelivery.objects.count() == rounds
    assert effects() == sorted(("batch.succeeded", f"x{number}") for number in range(rounds))
    assert set(Job.objects.values_list("state", flat=True)) == {"succeeded"}


def found_at_google(
    monkeypatch: pytest.MonkeyPatch, name: str, state: str = "JOB_STATE_SUCCEEDED"
) -> Job:
    """A due job, and what Google says of it."""
    kind = "batch" if name.startswith("batches/") else "interaction"
    remote = gateway.RemoteJob(name=name, state=state, changed_at=datetime.now(UTC))
    monkeypatch.setitem(asking.READ, kind, lambda **_: remote)
    return jobs.track(name, due_at=datetime.now(UTC) - timedelta(hours=1))


# An interaction that waits for its caller --------------------------------------------------


@every_database
@pytest.mark.usefixtures("noting")
def test_action_is_required_and_then_it_ends(database: str, site: Site) -> None:
    interaction = jobs.submit_interaction(model=MODEL, input="hello")
    site.wait()
    at_google = site.emulator.interactions.get(interaction.id)
    at_google.outcome = "requires_action"
    site.a_day_passes()
    reconcile()
    processing.drain()
    assert (the_job().state, the_delivery().event_type) == (
        "requires_action",
        "interaction.requires_action",
    )

    site.a_day_passes()
    assert reconcile().running == (interaction.id,)  # told once
    at_google.outcome = "succeeded"
    site.a_day_passes()
    assert reconcile().found == (interaction.id,)
    processing.drain()

    assert the_job().state == "succeeded"
    assert [name for name, _ in effects()] == [
        "interaction.completed",
        "interaction.requires_action",
    ]


@every_database
@pytest.mark.parametrize(("later", "status"), [(-60, "duplicate"), (60, "accepted")])
def test_action_that_is_required_again_is_another_event(
    database: str,
    static: StaticSender,
    monkeypatch: pytest.MonkeyPatch,
    later: int,
    status: str,
) -> None:
    found_at_google(monkeypatch, "i1", "requires_action")
    reconcile()
    happened = datetime.now(UTC) + timedelta(seconds=later)
    sent = envelope("interaction.requires_action", id="i1")

    answer = static.post({**sent, "timestamp": happened.isoformat()}).json()

    assert answer == {"status": status}


# What has not ended, and what cannot be found out ------------------------------------------


@sqlite
@pytest.mark.parametrize(
    ("age", "pause"),
    [
        (timedelta(minutes=4), timedelta(minutes=5)),
        (timedelta(hours=4), timedelta(hours=2)),
        (timedelta(days=20), timedelta(hours=6)),
    ],
)
def test_job_that_runs_is_asked_about_less_and_less(
    monkeypatch: pytest.MonkeyPatch, age: timedelta, pause: timedelta
) -> None:
    job = found_at_google(monkeypatch, "batches/x1", "JOB_STATE_RUNNING")
    Job.objects.update(submitted_at=timezone.now() - age, last_error="an old one")

    assert reconcile().running == (job.resource_id,)

    assert abs(the_job().due_at - timezone.now() - pause) < timedelta(seconds=30)
    assert (the_job().state, the_job().last_error) == ("submitted", "")
    assert reconcile().checked == 0


@sqlite
@pytest.mark.parametrize("state", ["JOB_STATE_RUNNING", None], ids=["running", "refused"])
def test_job_is_given_up_after_a_month_but_not_its_event(
    static: StaticSender,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    state: str | None,
) -> None:
    found_at_google(monkeypatch, "batches/x1", state or "")
    if state is None:

        def refuse(**_: Any) -> Any:
            raise GatewayError("no permission", status=403)

        monkeypatch.setitem(asking.READ, "batch", refuse)
    Job.objects.update(submitted_at=timezone.now() - timedelta(days=31))

    assert len(reconcile().lost) == 1
    assert the_job().state == "lost"
    assert the_job().last_error in ("still JOB_STATE_RUNNING after 31 days", "no permission")
    assert "job x1 is lost" in caplog.text
    assert reconcile().checked == 0

    static.post(static.envelope(id="x1"))
    processing.drain()
    assert (the_job().state, the_job().last_error) == ("succeeded", "")


@sqlite
def test_what_may_pass_makes_no_job_lost_however_old_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site was down for a month, and Google's first answer is 503."""
    batch = site.batch()
    site.wait()
    site.a_day_passes(24 * 31)
    site.emulator.faults.fail_next(status=503, method="GET", path_contains="batches/")

    report = reconcile()

    assert (len(report.failed), report.lost, the_job().state) == (1, (), "submitted")
    site.a_day_passes(1)
    assert reconcile().found == (bare(batch),)


@every_database
def test_lost_job_that_is_tracked_again_is_asked_about_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_at_google(monkeypatch, "batches/x1")
    Job.objects.update(state="lost", last_error="no permission")
    due = datetime.now(UTC) - timedelta(minutes=1)

    tracked = jobs.track("batches/x1", due_at=due)

    assert (tracked.state, tracked.last_error) == ("submitted", "")
    assert (the_job().state, the_job().last_error) == ("submitted", "")
    assert clock.aware(the_job().due_at) == due
    assert reconcile().found == ("x1",)


@sqlite
def test_job_that_google_does_not_know_is_lost(site: Site) -> None:
    batch = site.batch()
    site.wait()
    with site.emulator.lock:
        site.emulator.batches.remove(bare(batch))
    site.a_day_passes()

    [lost] = reconcile().lost
    assert lost.startswith(bare(batch))
    assert (the_job().state, the_job().last_error) == (
        "lost",
        "Google does not know it, or no longer",
    )


@every_database
def test_failure_of_one_job_is_noted_and_stops_no_other(database: str, site: Site) -> None:
    batches = [site.batch() for _ in range(3)]
    site.wait()
    site.a_day_passes()
    broken = bare(batches[1])
    site.emulator.faults.fail_next(status=503, method="GET", path_contains=broken)

    report = reconcile()

    assert set(report.found) == {bare(batches[0]), bare(batches[2])}
    [failed] = report.failed
    assert failed.startswith(f"{broken}: ")
    job = Job.objects.get(resource_id=broken)
    assert "503" in job.last_error
    assert job.state == "submitted"
    assert timedelta(minutes=4) < job.due_at - timezone.now() <= timedelta(minutes=5)

    site.a_day_passes(1)
    assert reconcile().found == (broken,)


@sqlite
def test_refusal_is_not_asked_for_again_soon(site: Site) -> None:
    site.batch()
    site.wait()
    site.a_day_passes()
    site.emulator.faults.fail_next(status=403, method="GET", path_contains="batches/")

    assert len(reconcile().failed) == 1
    assert the_job().due_at - timezone.now() > timedelta(hours=5)


@sqlite
@pytest.mark.parametrize(("status", "found"), [(400, 1), (503, 0)])
def test_reason_of_a_failed_batch_may_be_out_of_reach(
    site: Site, monkeypatch: pytest.MonkeyPatch, status: int, found: int
) -> None:
    site.failing_batch()
    site.wait()
    site.a_day_passes()

    def refuse(**_: Any) -> Any:
        raise GatewayError("not for batches", status=status)

    with monkeypatch.context() as refusing:
        refusing.setattr(gateway, "read_operation", refuse)
        assert len(reconcile().found) == found
    if found:
        assert the_delivery().payload["data"]["error_code"] == "JOB_STATE_FAILED"
        return
    site.a_day_passes(1)
    reconcile()
    assert the_delivery().payload["data"]["error_code"] == "3"


@sqlite
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"api_key_name": "other"}, "API_KEYS"),
        ({"name": "", "kind": "operation"}, "track() it again"),
    ],
)
def test_job_that_cannot_be_asked_about_says_why(
    site: Site, change: dict[str, str], said: str
) -> None:
    jobs.track(site.video())
    site.a_day_passes()
    Job.objects.update(**change)

    assert len(reconcile().failed) == 1
    assert said in the_job().last_error


@sqlite
def test_batch_that_the_version_before_entered_is_asked_about(site: Site) -> None:
    batch = site.batch()
    site.wait()
    site.a_day_passes()
    Job.objects.update(name="")

    assert reconcile().found == (bare(batch),)


@every_database
def test_database_that_does_not_take_it_is_noted(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_at_google(monkeypatch, "batches/x1")

    def down(*_: Any, **__: Any) -> None:
        raise OperationalError("secret text")

    with monkeypatch.context() as outage:
        outage.setattr(recording, "insert", down)
        assert len(reconcile().failed) == 1
    assert the_job().last_error == "not stored: OperationalError"
    Job.objects.update(due_at=timezone.now())
    assert reconcile().found == ("x1",)


# Passes ------------------------------------------------------------------------------------


@every_database
def test_pass_is_bounded_and_takes_the_longest_overdue_first(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hours in range(1, 6):
        found_at_google(monkeypatch, f"batches/x{hours}", "JOB_STATE_RUNNING")
        Job.objects.filter(resource_id=f"x{hours}").update(
            due_at=timezone.now() - timedelta(hours=hours)
        )

    report = reconcile(2)
    assert (report.running, report.left) == (("x5", "x4"), 3)
    monkeypatch.setattr(passes, "PASS_SECONDS", 0)
    assert (reconcile().checked, reconcile().left) == (0, 3)


@every_database
@pytest.mark.parametrize("state", ["JOB_STATE_SUCCEEDED", "JOB_STATE_RUNNING"])
def test_passes_at_the_same_time_share_the_jobs(
    database: str, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    asked: list[str] = []
    others: list[Report] = []

    def ask(name: str, **_: Any) -> gateway.RemoteJob:
        asked.append(name)
        if len(asked) == 1:  # while the first pass waits for Google
            others.append(reconcile())
        return gateway.RemoteJob(name=name, state=state)

    for number in range(3):
        found_at_google(monkeypatch, f"batches/x{number}")
    monkeypatch.setitem(asking.READ, "batch", ask)

    first = reconcile()

    assert sorted(asked) == ["batches/x0", "batches/x1", "batches/x2"]
    assert (first.checked, others[0].checked) == (1, 2)


@sqlite
def test_what_was_found_is_handed_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    found_at_google(monkeypatch, "batches/x1")

    reconcile()

    dispatch.flush()
    with app.connection_for_read() as connection:
        assert connection.default_channel.queue_purge("celery") == 1


@every_database
def test_pass_that_dies_leaves_its_job_to_the_next(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_at_google(monkeypatch, "batches/x1")

    def die(**_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setitem(asking.READ, "batch", die)
        with pytest.raises(KeyboardInterrupt):
            reconcile()
    assert reconcile().checked == 0
    monkeypatch.setattr(ledger.clock, "now", lambda: timezone.now() + timedelta(minutes=6))
    assert reconcile().found == ("x1",)


@sqlite
def test_one_api_key_alone(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"API_KEYS": {"default": "a", "acme": "b"}}
    for name in ("batches/x1", "batches/x2"):
        found_at_google(monkeypatch, name)
    Job.objects.filter(resource_id="x2").update(api_key_name="acme")

    assert reconcile(api_key_name="acme").found == ("x2",)
    assert reconcile().found == ("x1",)
    with pytest.raises(ConfigurationError, match="has no key 'nobody'"):
        reconcile(api_key_name="nobody")


@sqlite
def test_delivery_goes_to_the_endpoint_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="acme")
    found_at_google(monkeypatch, "batches/x1")
    jobs.track("batches/x1", endpoint="acme", due_at=datetime.now(UTC))

    reconcile()

    assert the_delivery().endpoint == endpoint


# Discovery ---------------------------------------------------------------------------------


@every_database
@pytest.mark.usefixtures("noting")
def test_discovery_finds_what_nobody_entered(
    database: str,
    serve: Callable[..., Site],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(gateway, "BATCHES_PAGE_SIZE", 2)
    site = serve()
    tracked = site.batch()
    ended, old, ended_too = site.untracked(), site.untracked(), site.untracked()
    site.wait()
    site.ended(ended, ended_too)
    site.ended(old, hours=49)
    site.emulator.options = type(site.emulator.options)(job_seconds=3600, lost=1.0, output="files")
    running = site.untracked()

    assert reconcile().discovered == ()
    report = reconcile(discover=True)
    processing.drain()

    assert set(report.discovered) == {bare(ended), bare(ended_too), bare(running)}
    assert set(report.found) == {bare(ended), bare(ended_too)}
    assert effects() == sorted(("batch.succeeded", bare(one)) for one in (ended, ended_too))
    entered = Job.objects.get(resource_id=bare(running))
    assert (entered.state, entered.name) == ("submitted", running.name)
    assert entered.due_at > timezone.now() + timedelta(hours=23)
    assert f"batch {bare(ended)} was not in the ledger" in caplog.text
    assert reconcile(discover=True).discovered == ()
    assert reconcile(discover=True, since=timedelta(hours=50)).found == (bare(old),)
    assert Job.objects.get(resource_id=bare(tracked)).state == "submitted"


@sqlite
def test_discovery_leaves_alone_what_sent_its_event(serve: Callable[..., Site]) -> None:
    site = serve(lost=0)
    batch = site.batch()
    site.wait()
    Job.objects.all().delete()

    assert reconcile(discover=True).discovered == ()
    assert the_delivery().resource_id == bare(batch)


@sqlite
def test_discovery_leaves_time_for_the_event_that_knows_more(site: Site) -> None:
    """The event carries the metadata; for a day Google goes on trying to deliver it."""
    ran: list[Any] = []
    receivers.on("batch.succeeded", metadata={"job_group": "nightly"}, name="nightly")(
        lambda event, **_: ran.append(event.user_metadata)
    )
    batch = site.untracked({"job_group": "nightly"})
    site.wait()
    site.ended(batch, hours=1)

    report = reconcile(discover=True)

    assert (report.discovered, report.checked, report.found) == ((bare(batch),), 0, ())
    due_in = the_job().due_at - timezone.now()
    assert timedelta(hours=22) < due_in <= timedelta(hours=23)
    assert site.the_events_come() == [200]
    processing.drain()
    assert ran == [{"job_group": "nightly"}]
    assert (the_delivery().source, the_job().state) == ("webhook", "succeeded")


@every_database
def test_discovered_batch_whose_event_does_not_come_is_found_a_day_after_its_end(
    database: str, site: Site
) -> None:
    batch = site.untracked()
    site.wait()
    assert reconcile(discover=True).discovered == (bare(batch),)

    site.a_day_passes()

    assert reconcile().found == (bare(batch),)


@every_database
def test_discovery_leaves_alone_what_the_site_enters_at_the_same_moment(
    database: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = datetime(2040, 1, 1, tzinfo=UTC)
    batch = site.untracked()
    site.wait()
    site.ended(batch)
    look = passes.end_of

    def enter_meanwhile(*given: Any) -> str | None:
        jobs.track(batch, user_metadata={"tenant": "acme"}, due_at=due)
        return look(*given)

    monkeypatch.setattr(passes, "end_of", enter_meanwhile)

    report = reconcile(discover=True)

    assert (report.discovered, report.checked) == ((), 0)
    assert the_job().user_metadata == {"tenant": "acme"}
    assert clock.aware(the_job().due_at) == due


@sqlite
def test_discovery_is_bounded_and_goes_on_next_time(site: Site) -> None:
    for _ in range(3):
        site.untracked()
    site.wait()

    first, second = (len(reconcile(2, discover=True).discovered) for _ in range(2))

    assert (first, second) == (2, 1)


@sqlite
def test_api_key_whose_batches_cannot_be_listed_stops_no_other(site: Site) -> None:
    site.untracked()
    site.wait()
    site.emulator.faults.fail_next(status=403, method="GET", path_contains="batches", times=1)

    report = reconcile(discover=True)

    [failed] = report.failed
    assert failed.startswith("API key default: ")


# Doing it by hand, by beat, and from the code ----------------------------------------------


@sqlite
def test_command(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    batch, other = site.batch(), site.untracked()
    site.wait()
    site.a_day_passes()
    site.ended(other)
    call_command("gemini_webhooks", "reconcile", "--discover", "--limit", "5")
    assert f"found: {bare(batch)}, {bare(other)}" in capsys.readouterr().out.splitlines()

    call_command("gemini_webhooks", "reconcile", "--json", "--api-key", "default")
    assert json.loads(capsys.readouterr().out)["left"] == 0
    with pytest.raises(CommandError, match="API_KEYS"):
        call_command("gemini_webhooks", "reconcile", "--api-key", "other")


@sqlite
def test_command_fails_if_something_could_not_be_asked_about(site: Site) -> None:
    site.batch()
    site.wait()
    site.a_day_passes()
    site.emulator.faults.fail_next(status=500, method="GET", path_contains="batches")

    with pytest.raises(SystemExit) as ended:
        call_command("gemini_webhooks", "reconcile", stdout=io.StringIO())
    assert ended.value.code == 1


@sqlite
def test_task_and_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    found_at_google(monkeypatch, "batches/x1")

    report = tasks.reconcile(limit=10)

    assert json.loads(json.dumps(report))["found"] == ["x1"]
    entries = [
        entry
        for entry in gemini_webhooks.beat_schedule().values()
        if entry["task"] == tasks.reconcile.name
    ]
    assert [entry["schedule"] for entry in entries] == [600]


# Submitting --------------------------------------------------------------------------------


@every_database
def test_submitted_job_is_in_the_ledger_and_announces_its_end(
    database: str, serve: Callable[..., Site]
) -> None:
    site = serve(lost=0)
    due = datetime(2030, 1, 1, tzinfo=UTC)
    batch = site.batch(
        user_metadata={"tenant": "acme"}, config={"display_name": "nightly"}, due_at=due
    )
    site.wait()

    assert batch.display_name == "nightly"
    assert (the_job().name, clock.aware(the_job().due_at)) == (batch.name, due)
    assert (the_delivery().signing, the_delivery().sealed) == ("jwt", True)
    assert the_delivery().user_metadata == {"tenant": "acme"}


@sqlite
def test_submitted_for_the_registered_webhooks(site: Site) -> None:
    batch = site.batch(dynamic=False)
    jobs.submit_interaction(model=MODEL, input="hello", dynamic=False)

    assert site.emulator.batches.get(bare(batch)).webhook_config.uris == ()
    assert Job.objects.count() == 2


@sqlite
def test_config_may_be_a_model_of_the_sdk(site: Site) -> None:
    config = genai.types.CreateBatchJobConfig(display_name="nightly")

    assert site.batch(config=config).display_name == "nightly"


@sqlite
@pytest.mark.parametrize(
    "submit",
    [
        lambda site: site.batch(config={"webhook_config": {}}),
        lambda site: site.batch(config={"display_nam": "typing error"}),
        lambda site: site.batch(config={"dest": "gs://bucket"}),
        lambda site: site.batch(user_metadata=["list"]),
        lambda site: site.batch(user_metadata={"when": datetime.now(UTC)}, dynamic=False),
        lambda site: site.batch(due_at=timedelta(hours=1)),
        lambda site: site.batch(due_at="tomorrow", dynamic=False),
        lambda site: site.batch(due_at=NAIVE),
        lambda _: jobs.submit_interaction(
            model=MODEL, input="hello", user_metadata={"a": {1}}, dynamic=False
        ),
        lambda _: jobs.submit_video(model="veo", due_at="tomorrow"),
        lambda _: jobs.submit_interaction(model=MODEL, input="hello", background=True),
        lambda _: jobs.submit_interaction(model=MODEL, input="hello", no_such_argument=1),
    ],
)
def test_arguments_that_cannot_be_right_submit_nothing(
    site: Site, submit: Callable[[Site], Any]
) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        submit(site)

    assert "usable answer" not in str(refused.value)
    assert len(site.emulator.batches) + len(site.emulator.interactions) == 0
    assert not Job.objects.exists()


@sqlite
def test_video_is_submitted_where_the_sdk_can(site: Site) -> None:
    def submit() -> Any:
        return jobs.submit_video(model="veo", source={"prompt": "a cat"}, user_metadata={"n": 1})

    if int(genai.__version__.partition(".")[0]) >= 3:
        with pytest.raises(UnsuitableJob, match="only supported in"):
            submit()
        return
    operation = submit()
    assert (the_job().kind, the_job().name) == ("operation", operation.name)


@every_database
def test_submitted_job_is_returned_though_the_ledger_cannot_be_written(
    database: str,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def down(*_: Any, **__: Any) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT secret_text FROM no_such_table")

    with transaction.atomic(using=database):
        with monkeypatch.context() as outage:
            outage.setattr(Job, "save", down)
            batch = site.batch()
        assert not Job.objects.exists()  # the caller's own transaction goes on

    assert bare(batch) in [one.id for one in site.emulator.batches]
    [logged] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert batch.name in logged.getMessage()
    assert "secret_text" not in caplog.text
    site.wait()
    site.ended(batch)
    assert reconcile(discover=True).found == (bare(batch),)


@sqlite
def test_submitted_job_is_returned_whatever_breaks_afterwards(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret text")

    monkeypatch.setattr(Job, "save", break_down)

    assert bare(site.batch()) in [one.id for one in site.emulator.batches]
    assert "(RuntimeError)" in caplog.text
    assert "secret text" not in caplog.text


# The emulator's part -----------------------------------------------------------------------


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_share_that_is_lost_is_a_share(share: float) -> None:
    with pytest.raises(ConfigurationError, match="lost must be a share"):
        EmulatorServer(lost=share)


@sqlite
def test_half_of_the_events_are_lost_and_come_later(serve: Callable[..., Site]) -> None:
    site = serve(lost=0.5)
    for _ in range(4):
        site.batch()
    site.wait()

    assert WebhookDelivery.objects.count() == 2
    assert site.the_events_come() == [200, 200]
    assert site.the_events_come() == []
    assert WebhookDelivery.objects.count() == 4
