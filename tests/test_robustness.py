"""What goes wrong around a delivery, and that nothing is lost, doubled or stuck for it."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import InterfaceError, OperationalError, connections, transaction
from django.test import RequestFactory
from django.utils import timezone

from gemini_webhooks import (
    RetryLater,
    deliveries,
    jobs,
    processing,
    receivers,
    registration,
    replay,
    signals,
    tasks,
    views,
)
from gemini_webhooks.models import (
    Attempt,
    Job,
    ReceiverRun,
    RejectedRequest,
    ResultFile,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.processing import draining
from tests.celery_app import app
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender
from tests.site.models import Effect
from tests.site.routers import ActiveAlias
from tests.test_decisions import FakeGoogle, fake_google  # noqa: F401  # a fixture
from tests.test_receivers import Recorder

sqlite = pytest.mark.django_db(transaction=True)
OUTPUT = "gs://not-allowed/rows.jsonl"


def drain() -> None:
    call_command("gemini_webhooks", "drain", verbosity=0)


def the_delivery() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


@pytest.fixture
def fetching(configured: dict[str, Any]) -> None:
    configured["FETCH_RESULTS"] = True


class TestReplay:
    pytestmark = [every_database]

    @pytest.fixture(autouse=True)
    def _on(self, database: str) -> None:
        """Every test of this class runs once per database."""

    def test_of_an_ignored_delivery_with_a_result(
        self, static: StaticSender, fetching: None
    ) -> None:
        static.post(static.envelope(output_file_uri=OUTPUT))
        drain()
        assert the_delivery().state == "ignored"

        signals.batch_succeeded.connect(recorder := Recorder())
        replay.replay(the_delivery(), actor="ada")
        drain()

        assert the_delivery().state == "processed"
        assert recorder.event.is_replay is True
        assert (Attempt.objects.get().trigger, Attempt.objects.get().actor) == ("replay", "ada")
        assert ResultFile.objects.count() == 1

    def test_gives_receivers_that_are_new_a_run(self, static: StaticSender) -> None:
        signals.batch_succeeded.connect(old := Recorder(), dispatch_uid="old")
        static.post()
        drain()
        signals.batch_succeeded.disconnect(dispatch_uid="old")
        signals.batch_succeeded.connect(new := Recorder(), dispatch_uid="new")

        replay.replay(the_delivery(), receivers=["new"], actor="ada")
        drain()

        assert (len(old.calls), len(new.calls)) == (1, 1)
        assert the_delivery().state == "processed"

    def test_lets_no_receiver_see_a_file_that_is_not_there(
        self, static: StaticSender, fetching: None
    ) -> None:
        signals.result_ready.connect(recorder := Recorder())
        static.post(static.envelope(output_file_uri=OUTPUT))
        drain()
        assert (the_delivery().state, ResultFile.objects.get().state) == ("failed", "failed")

        replay.replay(the_delivery(), actor="ada")
        assert ResultFile.objects.get().state == "pending"  # will be fetched again
        drain()

        assert recorder.calls == []
        assert ReceiverRun.objects.get().state == "dead"
        assert ResultFile.objects.get().attempts == 1

    def test_of_what_cannot_be_replayed_says_why(self, static: StaticSender) -> None:
        static.post(webhook_id="new")
        with pytest.raises(replay.NothingToReplay, match="not processed for the first time"):
            replay.replay(the_delivery(), actor="ada")
        drain()
        with pytest.raises(replay.NothingToReplay, match="no such receiver"):
            replay.replay(the_delivery(), actor="ada")
        WebhookDelivery.objects.update(body=b"{", state="unreadable")
        with pytest.raises(replay.NothingToReplay, match="unreadable"):
            replay.replay(the_delivery(), actor="ada")

    def test_leaves_a_run_alone_that_is_being_executed(self, static: StaticSender) -> None:
        signals.batch_succeeded.connect(recorder := Recorder())
        static.post()
        processing.plan(the_delivery().pk)
        assert deliveries.claim(ReceiverRun.objects.get().pk)

        with pytest.raises(replay.NothingToReplay, match="running now"):
            replay.replay(the_delivery(), actor="ada")
        assert recorder.calls == []


@sqlite
@pytest.mark.parametrize("body", [None, b"{"])
def test_one_bad_row_does_not_stop_the_others(static: StaticSender, body: bytes | None) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post(webhook_id="bad")
    static.post(webhook_id="good")
    WebhookDelivery.objects.filter(webhook_id="bad").update(body=body)

    drain()

    assert [call["event"].id for call in recorder.calls] == ["good"]
    assert WebhookDelivery.objects.get(webhook_id="bad").state == "unreadable"


@sqlite
def test_what_wants_another_turn_gets_it_although_more_and_more_comes_in(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "ROUND", 5)
    stop, turns, others = threading.Event(), [], []

    def again(event: Any, **_: Any) -> None:
        if event.id == "again":
            turns.append(event.id)
            if len(turns) == 1:
                raise RetryLater(0)
            stop.set()
        else:
            others.append(event.id)
            assert len(others) < 60
            static.post(webhook_id=f"other-{len(others)}")

    signals.batch_succeeded.connect(again)
    static.post(webhook_id="again")
    static.post(webhook_id="other-0")
    processing.drain_forever(stop)

    assert len(turns) == 2


@sqlite
def test_what_fails_again_and_again_is_not_tried_without_a_pause(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Any] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            if len(pauses) == 3:
                self.set()
            return self.is_set()

    pauses: list[float | None] = []
    monkeypatch.setattr(deliveries, "start", lambda *_: tries.append(1) or 1 / 0)
    static.post(webhook_id="bad")
    processing.drain_forever(Stop(), poll_seconds=7)

    assert pauses == [7, 7, 7]
    assert len(tries) == 3


def test_database_that_is_away_is_complained_about_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop, rounds = threading.Event(), iter([True, True, False, True])

    def drain(*_: Any, **__: Any) -> processing.Drained:
        is_away = next(rounds, None)
        if is_away is None:
            stop.set()
        if is_away:
            raise OperationalError("no such table: secret")
        return processing.Drained()

    monkeypatch.setattr(draining, "drain", drain)
    processing.drain_forever(stop, poll_seconds=0)

    complaints = [line for line in caplog.messages if "manage.py migrate" in line]
    assert len(complaints) == 2
    assert "secret" not in caplog.text


@sqlite
def test_drain_goes_on_after_an_error_of_our_own(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    static.post(webhook_id="bad")
    static.post(webhook_id="good")
    start = deliveries.start

    def broken(delivery: WebhookDelivery, *args: Any) -> bool:
        if delivery.webhook_id == "bad":
            raise OperationalError("row was (secret)")
        return start(delivery, *args)

    monkeypatch.setattr(deliveries, "start", broken)
    drain()

    assert [call["event"].id for call in recorder.calls] == ["good"]
    assert "OperationalError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.server("postgres")
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_lease_goes_on_after_its_connection_was_cut(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemini_webhooks.leases.RENEW_SECONDS", 0.01)
    outcomes: list[bool] = []
    renewed, cut = threading.Event(), threading.Event()
    renew = deliveries.renew

    def watched(held: deliveries.Claim) -> bool:
        if cut.is_set() and not outcomes:
            connections[database].close()  # its own, as the server would have closed it
            connections[database].ensure_connection()
            outcomes.append(False)
            raise InterfaceError("connection already closed")
        answer = renew(held)
        outcomes.append(answer) if cut.is_set() else None
        renewed.set()
        return answer

    @receivers.non_atomic
    def receiver(**_: Any) -> None:
        assert renewed.wait(10)
        renewed.clear()
        cut.set()
        while outcomes.count(True) == 0:
            assert renewed.wait(10)

    monkeypatch.setattr(deliveries, "renew", watched)
    signals.batch_succeeded.connect(receiver)
    static.post()
    drain()

    assert outcomes[0] is False
    assert True in outcomes
    assert the_delivery().state == "processed"


class Replica(ActiveAlias):
    """Reads go to a replica that has nothing yet."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "default"


@pytest.mark.server("postgres")
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_replica_that_is_behind_is_not_asked(
    database: str, static: StaticSender, settings: Any, fetching: None
) -> None:
    settings.DATABASE_ROUTERS = ["tests.test_robustness.Replica"]
    failures: list[Any] = []
    signals.delivery_failed.connect(
        lambda **kw: failures.append(kw["run"].receiver), weak=False, dispatch_uid="t"
    )
    written = WebhookDelivery.objects.using(database)
    calls: list[str] = []

    @receivers.on("batch.succeeded", name="event")
    def receiver(event: Any, **_: Any) -> None:
        calls.append(event.id)

    signals.result_ready.connect(recorder := Recorder(), dispatch_uid="file")
    WebhookEndpoint.objects.using(database).create(slug="acme")

    assert static.post(path="/webhooks/gemini/acme/").status_code == 401  # found, not 404
    assert static.post(static.envelope(output_file_uri=OUTPUT)).status_code == 200
    kinds = {handoff.kind for handoff in processing.plan(written.get().pk)}
    drain()
    signals.delivery_failed.disconnect(dispatch_uid="t")

    assert kinds == {"run", "result"}
    assert (len(calls), recorder.calls) == (1, [])
    assert failures == ["result_ready:file"]
    assert written.get().state == "failed"
    assert len(replay.replay(written.get(), receivers=["event"], actor="ada")) == 1


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@sqlite
@pytest.mark.parametrize(
    "error",
    [Unprintable(), asyncio.CancelledError(), SystemExit(3), RecursionError("deep")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_receiver_raises_is_an_attempt(
    static: StaticSender, error: BaseException
) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(error))
    static.post()
    processing.plan(the_delivery().pk)
    processing.run(ReceiverRun.objects.get().pk)

    assert ReceiverRun.objects.get().state == "retrying"
    assert type(error).__name__ in ReceiverRun.objects.get().last_error
    assert not Effect.objects.exists()
    drain()
    assert (len(recorder.calls), the_delivery().state) == (2, "processed")


class WorkerShutdown(SystemExit):
    """As Celery has it: an order to the worker, not the receiver's doing."""


@sqlite
def test_order_to_stop_the_worker_is_obeyed(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(WorkerShutdown()))
    static.post()
    processing.plan(the_delivery().pk)

    with pytest.raises(WorkerShutdown):
        processing.run(ReceiverRun.objects.get().pk)

    assert len(recorder.calls) == 1
    assert not Effect.objects.exists()
    assert ReceiverRun.objects.get().state == "running"  # until its lease ends


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), 1e12])
def test_retry_later_takes_a_time_that_makes_sense(seconds: float) -> None:
    with pytest.raises(ValueError, match="RetryLater takes"):
        RetryLater(seconds)


@sqlite
def test_decorated_async_receiver_is_awaited(static: StaticSender) -> None:
    async def receiver(event: Any, **_: Any) -> None:
        await Effect.objects.acreate(receiver="async", webhook_id=event.id)

    @functools.wraps(receiver)
    def decorated(**arguments: Any) -> Any:
        return receiver(**arguments)

    decorated.__wrapped__ = None  # type: ignore[attr-defined]  # nothing tells that it is async
    signals.batch_succeeded.connect(decorated)
    static.post()
    drain()

    assert Effect.objects.count() == 1
    assert the_delivery().state == "processed"


@sqlite
def test_settling_that_fails_does_not_lose_the_retry(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadlock(_: int) -> None:
        raise OperationalError(1213, "Deadlock found")

    signals.batch_succeeded.connect(recorder := Recorder(ValueError("once")))
    static.post()
    processing.plan(the_delivery().pk)
    monkeypatch.setattr(deliveries, "settle", deadlock)

    [again] = processing.run(ReceiverRun.objects.get().pk)

    assert (again.kind, len(recorder.calls)) == ("run", 1)


@sqlite
def test_rejection_that_cannot_be_recorded_is_refused_all_the_same(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any, **__: Any) -> None:
        raise InterfaceError("connection already closed")

    monkeypatch.setattr(RejectedRequest, "save", closed)

    assert static.post(headers={"webhook-signature": "v1,AAAA"}).status_code == 401


@sqlite
def test_sweeper_hands_overdue_runs_on_once_and_lets_others_go_first(
    static: StaticSender,
) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    for number in range(3):
        static.post(webhook_id=f"m{number}")
        processing.plan(WebhookDelivery.objects.get(webhook_id=f"m{number}").pk)
    ReceiverRun.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=5))

    swept = [processing.sweep(1).handoffs for _ in range(4)]

    ids = [handoff.id for handoffs in swept for handoff in handoffs]
    assert sorted(ids) == sorted(ReceiverRun.objects.values_list("pk", flat=True))
    assert recorder.calls == []


@sqlite
def test_job_that_was_tracked_after_its_event_is_settled(static: StaticSender) -> None:
    static.post(static.envelope("batch.failed"))
    drain()

    job = jobs.track("batches/batch_123456")

    assert (job.state, job.delivery) == ("failed", the_delivery())
    job.refresh_from_db()
    assert job.state == "failed"


@sqlite
def test_late_requires_action_does_not_reopen_a_job(static: StaticSender) -> None:
    jobs.track("int_1")
    for event_type in ("interaction.completed", "interaction.requires_action"):
        static.post(static.envelope(event_type, id="int_1"))
        drain()

    assert Job.objects.get().state == "succeeded"


def test_broker_that_never_answers_does_not_keep_the_process_from_ending() -> None:
    program = """
import socket
import django
django.setup()
from celery import Celery
from gemini_webhooks import dispatch
from gemini_webhooks.processing import Handoff
server = socket.create_server(("127.0.0.1", 0))
Celery("x", broker=f"redis://127.0.0.1:{server.getsockname()[1]}/0")
print(dispatch._publisher.publish([Handoff(kind="run", id=1)]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert ended.stdout.strip() == "False"


@sqlite
def test_messages_far_in_the_future_are_left_to_the_sweeper(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(RetryLater(3600), RetryLater(60)))
    static.post()
    processing.plan(the_delivery().pk)
    run = ReceiverRun.objects.get()
    with app.connection_for_read() as broker:
        broker.default_channel.queue_purge("celery")
        tasks.run_receiver(run.pk)
        assert broker.default_channel.basic_get("celery", no_ack=True) is None
        ReceiverRun.objects.update(next_attempt_at=timezone.now())
        tasks.run_receiver(run.pk)
        message = broker.default_channel.basic_get("celery", no_ack=True)

    assert len(recorder.calls) == 2
    assert message.headers["eta"] is not None


@sqlite
def test_registration_inside_of_a_transaction_never_reaches_google(
    fake_google: FakeGoogle,  # noqa: F811  # the fixture
) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        registration.create("acme")

    assert fake_google.webhooks == {}


@sqlite
@pytest.mark.parametrize("slug", ["a b", "x" * 150, "", "ä/b"])
def test_slug_that_is_none_never_reaches_google(
    fake_google: FakeGoogle,  # noqa: F811  # the fixture
    slug: str,
) -> None:
    with pytest.raises(registration.RegistrationError):
        registration.create(slug)

    assert fake_google.webhooks == {}
    assert not WebhookEndpoint.objects.exists()


@sqlite
@pytest.mark.parametrize("slug", ["nowhere", "a.b", "%00", "%ff%fe", "a%20b", "x" * 300])
def test_unknown_endpoint_is_said_before_anything_else(static: StaticSender, slug: str) -> None:
    answer = static.client.post(f"/webhooks/gemini/{slug}/", data=b"", content_type="text/plain")

    assert (answer.status_code, answer.json()) == (404, {"error": "unknown_endpoint"})


@sqlite
def test_seal_that_does_not_hold_is_refused_even_if_none_is_required(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["REQUIRE_SEAL"] = False
    tampered = dynamic.envelope()
    tampered["data"]["user_metadata"]["gemini_webhooks_seal"] += "x"

    assert dynamic.post(tampered).json() == {"error": "seal_invalid"}
    dynamic.sealed_for = "elsewhere"
    assert dynamic.post().json() == {"error": "seal_wrong_endpoint"}
    dynamic.sealed_for = None
    assert dynamic.post().json() == {"status": "accepted"}


@sqlite
def test_seal_is_found_at_the_top_level_too(dynamic: DynamicSender) -> None:
    payload = dynamic.envelope()
    payload["user_metadata"] = payload["data"]["user_metadata"]
    payload["data"]["user_metadata"] = {}

    assert dynamic.post(payload).json() == {"status": "accepted"}
    assert the_delivery().user_metadata == {"tenant": "acme"}


@sqlite
def test_body_that_a_middleware_consumed_is_no_forgery(
    static: StaticSender, caplog: pytest.LogCaptureFixture
) -> None:
    request = RequestFactory().post("/", data=b"{}", content_type="application/json")
    request.read()

    answer = views.receive(request)

    assert answer.status_code == 503
    assert b"body_consumed" in answer.content
    assert "middleware" in caplog.text


@sqlite
def test_receivers_with_long_names_each_have_their_run(static: StaticSender) -> None:
    recorders = [Recorder() for _ in range(3)]
    for number, recorder in enumerate(recorders):
        signals.batch_succeeded.connect(recorder, dispatch_uid="x" * 300 + str(number))
    static.post()
    drain()

    assert [len(recorder.calls) for recorder in recorders] == [1, 1, 1]


@sqlite
def test_receiver_that_spoils_its_transaction_is_tried_again(static: StaticSender) -> None:
    spoiled: list[str] = []

    def receiver(event: Any, **_: Any) -> None:
        Effect.objects.create(receiver="spoiler", webhook_id=event.id)
        if not spoiled:
            spoiled.append("yes")
            transaction.set_rollback(True)

    signals.batch_succeeded.connect(receiver)
    static.post()
    drain()
    drain()

    assert Effect.objects.count() == 1
    assert the_delivery().state == "processed"
