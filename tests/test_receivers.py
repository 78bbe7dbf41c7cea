"""Receivers: which ones run, what they get, and what becomes of those that fail."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from gemini_webhooks import GiveUp, RetryLater, backoff, processing, receivers, signals
from gemini_webhooks.models import Attempt, ReceiverRun, WebhookDelivery
from tests.conftest import every_database
from tests.senders import Sender, StaticSender
from tests.site.models import Effect

sqlite = pytest.mark.django_db(transaction=True)

SIGNALS = {
    "batch.succeeded": signals.batch_succeeded,
    "batch.completed": signals.batch_succeeded,
    "batch.failed": signals.batch_failed,
    "batch.cancelled": signals.batch_cancelled,
    "batch.expired": signals.batch_expired,
    "interaction.requires_action": signals.interaction_requires_action,
    "interaction.completed": signals.interaction_completed,
    "interaction.failed": signals.interaction_failed,
    "interaction.cancelled": signals.interaction_cancelled,
    "video.generated": signals.video_generated,
}


class Recorder:
    """A receiver that keeps what it was given and does what it is told."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.errors = list(errors)

    def __call__(self, **arguments: Any) -> None:
        self.calls.append(arguments)
        Effect.objects.create(receiver="recorder", webhook_id=arguments["event"].id)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    @property
    def event(self) -> Any:
        return self.calls[-1]["event"]


def run_all_due() -> None:
    processing.drain()


def the_run() -> ReceiverRun:
    return ReceiverRun.objects.get()


@sqlite
@pytest.mark.parametrize("event_type", SIGNALS)
def test_each_type_fires_its_signal(static: StaticSender, event_type: str) -> None:
    recorder, others = Recorder(), Recorder()
    for signal in set(SIGNALS.values()) - {SIGNALS[event_type]}:
        signal.connect(others)
    SIGNALS[event_type].connect(recorder)

    static.post(static.envelope(event_type, error_code=13, error_message="boom"), webhook_id="m")
    run_all_due()

    [call] = recorder.calls
    assert others.calls == []
    assert call["sender"] is WebhookDelivery
    assert call["delivery"] == WebhookDelivery.objects.get()
    event = call["event"]
    assert (event.id, event.resource_id) == ("m", "batch_123456")
    assert (event.error_code, event.error_message) == ("13", "boom")
    assert event.data["error_code"] == 13
    assert event.is_replay is False


@sqlite
def test_event_received_gets_every_event_and_unknown_types_too(static: StaticSender) -> None:
    recorder = Recorder()
    signals.event_received.connect(recorder)

    for payload in (static.envelope("batch.failed"), static.envelope("cache.evicted"), ["ping"]):
        static.post(payload)
    run_all_due()

    assert [call["event"].type for call in recorder.calls] == ["batch.failed", "cache.evicted", ""]
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}


@sqlite
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("output_file_uri", "gs://bucket/out.jsonl"),
        ("file_name", "files/abc"),
        ("video_uri", "https://generativelanguage.googleapis.com/v1/files/x:download?alt=media"),
        ("file_id", "abc"),
    ],
)
def test_output_is_read_whatever_the_field_is_called(
    static: StaticSender, field: str, value: str
) -> None:
    recorder = Recorder()
    signals.video_generated.connect(recorder)

    static.post(static.envelope("video.generated", **{field: value}))
    run_all_due()

    assert recorder.event.output_uri == value


@sqlite
def test_delivery_without_receiver_is_ignored(static: StaticSender) -> None:
    static.post()
    run_all_due()

    assert WebhookDelivery.objects.get().state == "ignored"


@every_database
def test_receiver_writes_and_mark_commit_together(database: str, static: StaticSender) -> None:
    recorder = Recorder(ValueError("half-way"))
    signals.batch_succeeded.connect(recorder)

    static.post()
    processing.plan(WebhookDelivery.objects.get().pk)
    processing.run(the_run().pk)

    assert not Effect.objects.exists()
    assert (the_run().state, the_run().attempts) == ("retrying", 1)
    assert the_run().last_error == "ValueError: half-way"

    processing.run(the_run().pk)

    assert Effect.objects.count() == 1
    assert the_run().state == "succeeded"
    assert WebhookDelivery.objects.get().state == "processed"
    log = Attempt.objects.values_list("number", "trigger", "outcome", "error_class")
    assert list(log) == [(1, "delivery", "failed", "ValueError"), (2, "retry", "succeeded", "")]
    assert "half-way" in Attempt.objects.get(number=1).traceback


@sqlite
def test_one_that_fails_neither_stops_nor_repeats_another(static: StaticSender) -> None:
    broken, sound = Recorder(*[ValueError("no")] * 8), Recorder()
    signals.batch_succeeded.connect(broken, dispatch_uid="broken")
    signals.batch_succeeded.connect(sound, dispatch_uid="sound")
    failures: list[Any] = []
    signals.delivery_failed.connect(lambda **kw: failures.append(kw), weak=False, dispatch_uid="f")

    static.post()
    for _ in range(12):
        run_all_due()
    signals.delivery_failed.disconnect(dispatch_uid="f")

    assert len(sound.calls) == 1
    assert len(broken.calls) == 8
    dead = ReceiverRun.objects.get(receiver="broken")
    assert (dead.state, dead.attempts) == ("dead", 8)
    assert ReceiverRun.objects.get(receiver="sound").state == "succeeded"
    assert WebhookDelivery.objects.get().state == "failed"
    [failure] = failures
    assert failure["run"] == dead
    assert failure["event"].type == "batch.succeeded"
    assert failure["sender"] is WebhookDelivery


@sqlite
def test_retry_later_is_no_attempt(static: StaticSender) -> None:
    recorder = Recorder(*[RetryLater(0)] * 20)
    signals.batch_succeeded.connect(recorder)

    static.post()
    for _ in range(21):
        run_all_due()

    assert len(recorder.calls) == 21
    assert (the_run().state, the_run().attempts) == ("succeeded", 1)
    assert Effect.objects.count() == 1
    assert Attempt.objects.filter(outcome="postponed").count() == 20


@sqlite
def test_retry_later_waits_as_long_as_it_says(static: StaticSender) -> None:
    recorder = Recorder(RetryLater(120))
    signals.batch_succeeded.connect(recorder)

    static.post()
    run_all_due()
    run_all_due()

    assert len(recorder.calls) == 1
    wait = the_run().next_attempt_at - Attempt.objects.get().finished
    assert 118 < wait.total_seconds() <= 121


@sqlite
def test_give_up_is_the_end(static: StaticSender) -> None:
    recorder = Recorder(GiveUp("no such customer"))
    signals.batch_succeeded.connect(recorder)

    static.post()
    run_all_due()
    run_all_due()

    assert len(recorder.calls) == 1
    assert the_run().state == "dead"
    assert "no such customer" in the_run().last_error
    assert Attempt.objects.get().outcome == "gave_up"
    assert WebhookDelivery.objects.get().state == "failed"


@every_database
def test_async_receiver_runs_inside_the_transaction(database: str, static: StaticSender) -> None:
    fail = [True]

    async def receiver(event: Any, **_: Any) -> None:
        await Effect.objects.acreate(receiver="async", webhook_id=event.id)
        assert await sync_to_async(lambda: transaction.get_connection(database).in_atomic_block)()
        if fail.pop():
            fail.append(False)
            raise ValueError("first time")

    signals.batch_succeeded.connect(receiver)
    static.post()
    processing.plan(WebhookDelivery.objects.get().pk)
    processing.run(the_run().pk)
    assert not Effect.objects.exists()
    processing.run(the_run().pk)

    assert Effect.objects.get().receiver == "async"
    assert the_run().state == "succeeded"


@sqlite
def test_non_atomic_receiver_holds_no_transaction(static: StaticSender) -> None:
    seen: list[bool] = []

    @receivers.on("batch.succeeded")
    @receivers.non_atomic
    def receiver(**_: Any) -> None:
        seen.append(transaction.get_connection().in_atomic_block)

    static.post()
    run_all_due()

    assert seen == [False]
    assert the_run().state == "succeeded"


@sqlite
def test_on_matches_metadata_and_names_a_queue(dynamic: Sender) -> None:
    @receivers.on("batch.completed", metadata={"job_group": "nightly"}, queue="nightly", name="n")
    def nightly(event: Any, **_: Any) -> None:
        Effect.objects.create(receiver="nightly", webhook_id=event.id)

    for group in ("nightly", "hourly"):
        dynamic.user_metadata = {"job_group": group, "tenant": "acme"}
        dynamic.post(webhook_id=group)
    run_all_due()

    assert [effect.webhook_id for effect in Effect.objects.all()] == ["nightly"]
    assert (the_run().receiver, the_run().queue) == ("n", "nightly")
    assert WebhookDelivery.objects.get(webhook_id="hourly").state == "ignored"


@sqlite
def test_on_takes_types_that_nobody_knows_yet(static: StaticSender) -> None:
    calls: list[str] = []

    @receivers.on("cache.evicted")
    def receiver(event: Any, **_: Any) -> None:
        calls.append(event.type)

    static.post(static.envelope("cache.evicted"))
    static.post(static.envelope("cache.filled"))
    run_all_due()

    assert calls == ["cache.evicted"]


def route(event: Any, receiver_name: str) -> str | None:
    return "slow" if event.type == "batch.succeeded" else None


def broken_route(event: Any, receiver_name: str) -> str | None:
    raise ValueError(f"broken by {event.data}")


@sqlite
@pytest.mark.parametrize(("router", "queue"), [("route", "slow"), ("broken_route", "own")])
def test_queue_router(
    static: StaticSender,
    configured: dict[str, Any],
    router: str,
    queue: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    configured["QUEUE_ROUTER"] = f"tests.test_receivers.{router}"

    @receivers.on("batch.succeeded", queue="own")
    def receiver(**_: Any) -> None:
        """Nothing to do."""

    static.post()
    [handoff] = processing.plan(WebhookDelivery.objects.get().pk)

    assert handoff.queue == the_run().queue == queue
    assert ("ValueError" in caplog.text) is (router == "broken_route")
    assert "batch_123456" not in caplog.text  # what failed may quote the payload; the log does not


@sqlite
def test_receivers_of_the_same_name_each_have_their_run(static: StaticSender) -> None:
    recorders = [Recorder(), Recorder()]
    for recorder in recorders:
        signals.batch_succeeded.connect(recorder)

    static.post()
    run_all_due()

    assert [len(recorder.calls) for recorder in recorders] == [1, 1]
    names = ReceiverRun.objects.values_list("receiver", flat=True)
    assert list(names) == ["tests.test_receivers.Recorder", "tests.test_receivers.Recorder#2"]


@sqlite
def test_receiver_that_is_gone_is_said_so(static: StaticSender) -> None:
    recorder = Recorder()
    signals.batch_succeeded.connect(recorder)
    static.post()
    processing.plan(WebhookDelivery.objects.get().pk)
    signals.batch_succeeded.disconnect(recorder)

    processing.run(the_run().pk)

    assert the_run().state == "retrying"
    assert "is not connected in this worker" in the_run().last_error


def test_retry_delays_grow_and_are_spread(settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"RETRY_BASE_SECONDS": 10, "RETRY_MAX_SECONDS": 100}
    ceilings = {1: 10, 2: 20, 4: 80, 5: 100, 500: 100}
    for attempts, ceiling in ceilings.items():
        delays = [backoff.retry_delay(attempts) for _ in range(300)]
        assert all(0 <= delay <= ceiling for delay in delays)
        assert max(delays) > ceiling * 0.9
        assert min(delays) < ceiling * 0.1


@sqlite
def test_poison_in_an_error_message_is_stored(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(ValueError("nul \x00 and \ud800")))
    static.post()
    run_all_due()
    run_all_due()

    assert len(recorder.calls) == 2
    assert "\x00" not in Attempt.objects.get(number=1).traceback
