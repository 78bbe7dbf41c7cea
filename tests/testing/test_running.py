"""What happens then: receivers run here, fail, are retried, replayed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.utils import timezone

from gemini_webhooks import GiveUp, RetryLater, pausing, receivers, signals
from gemini_webhooks.exceptions import NothingToReplay
from gemini_webhooks.models import ReceiverRun, Replay, WebhookDelivery
from gemini_webhooks.testing import Gemini
from tests.testing.conftest import Receiver, every_kind_of_test, fails


@every_kind_of_test
def test_the_way_of_a_delivery(gemini_webhooks: Gemini, database: str, note: Receiver) -> None:
    def failing(**_: Any) -> None:
        User.objects.using(database).create(username="twice")
        User.objects.using(database).create(username="twice")

    @receivers.on("batch.succeeded", latest_only=True, limit=1)
    async def counts(delivery: WebhookDelivery, **_: Any) -> None:
        await WebhookDelivery.objects.using(database).aget(pk=delivery.pk)

    receivers.on("batch.succeeded")(failing)
    signals.result_ready.connect(read := Receiver(), weak=False, dispatch_uid="read")

    with pytest.raises(IntegrityError) as raised:
        gemini_webhooks.deliver("batch.succeeded", rows=[{"key": "a"}], id="m", signing="jwt")
    outcome = gemini_webhooks.deliver("batch.succeeded", id="m")

    assert "as in production.\nbatch.succeeded m: 200 accepted" in raised.value.__notes__[0]
    outcome.assert_duplicate()
    outcome.assert_ran("note")
    outcome.assert_ran(counts)
    outcome.assert_ran("read")
    outcome.assert_retrying(failing, times=1)
    assert not User.objects.using(database).exists()
    outcome.retry(failing, raises=False, times=100)
    outcome.assert_dead(failing, "UNIQUE" if database == "default" else "uplicate")
    assert outcome.runs_of(failing)[0].attempts == 8
    outcome.replay("note").assert_ran("note")
    assert [event.is_replay for event in note.events] == [False, True]
    assert len(read.events) == 1


def test_a_failure_is_raised_once_all_have_run(
    gemini_webhooks: Gemini, db: None, note: Receiver
) -> None:
    error = KeyError("tenant")
    note.does = fails(error)
    receivers.on("batch.succeeded")(other := Receiver())

    with pytest.raises(KeyError) as raised:
        gemini_webhooks.deliver("batch.succeeded")

    assert raised.value is error
    assert "reports.note: retrying, 1 attempt, again in" in error.__notes__[0]
    assert len(other.events) == 1


def test_a_failure_may_be_only_written_down(
    gemini_webhooks: Gemini, db: None, note: Receiver
) -> None:
    note.does = fails(ValueError("no tenant"))
    outcome = gemini_webhooks.deliver("batch.succeeded", raises=False)

    outcome.assert_retrying(note, times=1)
    assert outcome.runs[0].last_error == "ValueError: no tenant"
    for wrong in (
        lambda: outcome.assert_ran(note),
        lambda: outcome.assert_dead(note),
        lambda: outcome.assert_not_run(note),
        lambda: outcome.assert_skipped(note),
        lambda: outcome.assert_retrying(note, times=2),
    ):
        with pytest.raises(AssertionError, match=r"reports\.note .*1 attempt.*no tenant"):
            wrong()


@pytest.mark.parametrize("raises", [True, False])
def test_instructions_are_never_raised(
    gemini_webhooks: Gemini, db: None, note: Receiver, raises: bool
) -> None:
    note.does = fails(RetryLater(60))
    outcome = gemini_webhooks.deliver("batch.succeeded", raises=raises)
    outcome.assert_retrying(note, seconds=60, times=1)
    with pytest.raises(AssertionError, match=r"waits for 60\.\d s, not for 30 s"):
        outcome.assert_retrying(note, seconds=30)

    note.does = fails(GiveUp("no such order"))
    outcome.retry(raises=raises).assert_dead(note, "no such order")
    with pytest.raises(AssertionError, match="does not say 'customer'"):
        outcome.assert_dead(note, "customer")
    with pytest.raises(AssertionError, match="will not be retried"):
        outcome.assert_retrying(note)


def test_retries_end_when_it_succeeds(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    note.does = fails(ValueError())
    outcome = gemini_webhooks.deliver("batch.succeeded", raises=False)
    with pytest.raises(ValueError):
        outcome.retry(note)

    note.does = lambda: None
    outcome.retry(times=5).assert_ran(note)

    assert len(note.events) == 3
    with pytest.raises(AssertionError, match=r"nothing waits for a retry.\n.*processed"):
        outcome.retry()


def test_only_one_receiver_is_retried(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    receivers.on("batch.succeeded")(other := Receiver(does=fails(RetryLater(5))))
    note.does = fails(RetryLater(5))

    gemini_webhooks.deliver("batch.succeeded").retry(note)

    assert (len(note.events), len(other.events)) == (2, 1)


def test_what_is_only_stored_runs_later(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded", run=False)
    assert outcome.delivery.state == "received"
    outcome.assert_not_run()
    with pytest.raises(AssertionError, match=r"call run\(\)"):
        outcome.assert_ran(note)

    outcome.run().assert_ran(note)
    outcome.run()

    assert len(note.events) == 1


def test_time_passes(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    stored = gemini_webhooks.deliver("batch.succeeded", run=False)
    assert gemini_webhooks.run_due() == 1
    stored.assert_ran(note)
    note.does = fails(RetryLater(3600))
    waiting = gemini_webhooks.deliver("batch.succeeded")

    assert gemini_webhooks.run_due(after=3000) == 0
    note.does = fails(ValueError("late"))
    with pytest.raises(ValueError, match="late") as raised:
        gemini_webhooks.run_due(after=timedelta(hours=2))

    assert raised.value.__notes__[0].endswith("as in production.")
    waiting.assert_retrying(note, times=2)
    assert waiting.delivery.received_at < timezone.now()
    assert gemini_webhooks.run_due(after=timedelta(days=1), raises=False) == 1


def test_who_has_no_receiver(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    outcome = gemini_webhooks.deliver("batch.cancelled")

    outcome.assert_ignored()
    outcome.assert_not_run(note)
    with pytest.raises(AssertionError, match=r"note is not connected to it(.|\n)*no receiver is"):
        outcome.assert_ran("note")
    with pytest.raises(AssertionError, match="not ignored"):
        gemini_webhooks.deliver("batch.succeeded").assert_ignored()


def test_receivers_are_named_in_several_ways(gemini_webhooks: Gemini, db: None) -> None:
    def plain(**_: Any) -> None: ...

    class Method:
        def receive(self, **_: Any) -> None: ...

    method = Method()
    signals.batch_succeeded.connect(plain, weak=False)
    signals.event_received.connect(method.receive, weak=False)
    signals.result_ready.connect(plain, weak=False)

    outcome = gemini_webhooks.deliver("batch.succeeded", rows=[])

    outcome.assert_ran(plain)
    outcome.assert_ran("plain")
    outcome.assert_ran(f"{__name__}.{plain.__qualname__}")
    outcome.assert_ran(method.receive)
    assert len(outcome.runs_of(plain)) == len(outcome.runs_of("plain")) == 2
    assert len(outcome.runs_of(f"result_ready:{__name__}.{plain.__qualname__}")) == 1
    with pytest.raises(
        AssertionError, match=r"conftest\.fails is not connected.*; connected: .*plain, "
    ):
        outcome.assert_ran(fails)


def test_an_older_event_is_skipped(gemini_webhooks: Gemini, db: None) -> None:
    receivers.on("batch.succeeded", latest_only=True)(newest := Receiver())
    for minute, name in ((2, "new"), (1, "old")):
        outcome = gemini_webhooks.deliver(
            "batch.succeeded",
            resource_id="batch_1",
            occurred_at=datetime(2026, 1, 1, 12, minute, tzinfo=UTC),
            id=name,
        )

    outcome.assert_skipped(newest)
    outcome.assert_not_run(newest)
    assert [event.id for event in newest.events] == ["new"]
    with pytest.raises(AssertionError, match="skipped, as a newer event"):
        outcome.assert_ran(newest)


def test_a_replay(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded")
    note.does = fails(ValueError("again"))

    with pytest.raises(ValueError, match="again"):
        outcome.replay()

    outcome.assert_retrying(note)
    assert Replay.objects.get().actor == "test"
    with pytest.raises(NothingToReplay):
        outcome.replay("nobody")


def test_a_paused_receiver(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    pausing.pause(receiver="reports.note", actor="test")

    outcome = gemini_webhooks.deliver("batch.succeeded")

    outcome.assert_not_run(note)
    assert "reports.note: pending, 0 attempts, held by a pause" in str(outcome)


def test_those_that_share_a_limit_run_one_after_the_other(
    gemini_webhooks: Gemini, db: None
) -> None:
    receivers.on("batch.succeeded", limit=1)(limited := Receiver())
    stored = [gemini_webhooks.deliver("batch.succeeded", run=False) for _ in range(3)]

    stored[0].run()
    assert gemini_webhooks.run_due() == 2

    assert len(limited.events) == 3
    assert set(ReceiverRun.objects.values_list("state", flat=True)) == {"succeeded"}


def test_who_finds_no_place_waits(gemini_webhooks: Gemini, db: None) -> None:
    receivers.on("batch.succeeded", limit=1)(limited := Receiver(does=fails(RetryLater(0))))
    gemini_webhooks.deliver("batch.succeeded")

    second = gemini_webhooks.deliver("batch.succeeded")

    second.assert_not_run(limited)
    assert "pending, 0 attempts, waits for a place in its lane" in str(second)
    limited.does = lambda: None
    assert gemini_webhooks.run_due() == 2
    second.assert_ran(limited)


def test_a_receiver_that_is_not_atomic(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    @receivers.on("batch.succeeded")
    @receivers.non_atomic
    def careless(**_: Any) -> None:
        User.objects.create(username="kept")
        raise ValueError

    gemini_webhooks.deliver("batch.succeeded", raises=False).assert_retrying(careless)

    assert User.objects.filter(username="kept").exists()


def test_who_hears_of_a_failure(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    heard: list[Any] = []
    note.does = fails(GiveUp("no"))

    def hear(run: ReceiverRun, **_: Any) -> None:
        heard.append(run.receiver)

    signals.delivery_failed.connect(hear)
    gemini_webhooks.deliver("batch.succeeded")
    signals.delivery_failed.disconnect(hear)

    assert heard == ["reports.note"]
