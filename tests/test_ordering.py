"""Events in any order: which is the newest, and receivers that want only that one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections

from gemini_webhooks import deliveries, events, processing, receivers, replay, signals
from gemini_webhooks.models import Attempt, ReceiverRun, WebhookDelivery
from gemini_webhooks.processing.running import BUSY_SECONDS
from tests.conftest import every_database
from tests.senders import StaticSender, envelope
from tests.site.models import Effect

sqlite = pytest.mark.django_db(transaction=True)
#: SQLite has one writer: nothing comes in while a receiver has written.
with_row_locks = pytest.mark.parametrize("database", every_database.args[1][1:], indirect=True)
NOON = datetime(2026, 1, 22, 12, tzinfo=UTC)


def post(static: StaticSender, webhook_id: str, minute: int | None, **data: Any) -> None:
    """An event of the resource ``r`` that happened at a minute past noon."""
    event_type = data.pop("type", "batch.succeeded")
    sent = envelope(event_type, **{"id": "r", **data})
    if minute is None:
        del sent["timestamp"]
    else:
        sent["timestamp"] = (NOON + timedelta(minutes=minute)).isoformat()
    assert static.post(sent, webhook_id=webhook_id).status_code == 200


def outcomes(webhook_id: str) -> list[str]:
    attempts = Attempt.objects.filter(run__delivery__webhook_id=webhook_id)
    return list(attempts.order_by("number").values_list("outcome", flat=True))


def effects() -> list[str]:
    return list(Effect.objects.order_by("pk").values_list("webhook_id", flat=True))


def write(event: Any, **_: Any) -> None:
    Effect.objects.create(receiver="write", webhook_id=event.id)


# Which is the newest -----------------------------------------------------------------------


@every_database
def test_event_knows_whether_a_newer_one_is_stored(database: str, static: StaticSender) -> None:
    asked: dict[str, bool] = {}
    signals.event_received.connect(
        lambda event, **_: asked.update({event.id: event.is_stale()}), weak=False
    )

    post(static, "second", 2, id="batches/r")
    post(static, "first", 1)
    post(static, "third", 3, type="batch.failed")
    post(static, "unknown", 4, type="cache.evicted")
    post(static, "other", 9, id="R")
    post(static, "none", 9, id="")
    post(static, "none2", 9, id="")
    processing.drain()

    assert asked == {
        "second": True,
        "first": True,
        "third": False,
        "unknown": False,
        "other": False,
        "none": False,
        "none2": False,
    }


@every_database
def test_of_two_at_the_same_time_the_one_that_came_later_is_newer(
    database: str, static: StaticSender
) -> None:
    asked: dict[str, bool] = {}
    signals.event_received.connect(
        lambda event, **_: asked.update({event.id: event.is_stale()}), weak=False
    )

    post(static, "a", 1)
    post(static, "b", 1)
    processing.drain()

    assert asked == {"a": True, "b": False}


@every_database
def test_exactly_one_is_the_newest_though_some_have_no_time(
    database: str, static: StaticSender
) -> None:
    asked: dict[str, bool] = {}
    signals.event_received.connect(
        lambda event, **_: asked.update({event.id: event.is_stale()}), weak=False
    )

    post(static, "later", 2)
    post(static, "timeless", None)  # counts from its receipt, which is months later
    post(static, "earlier", 1)
    processing.drain()

    assert asked == {"later": True, "timeless": False, "earlier": True}


def test_event_that_is_not_stored_is_not_stale() -> None:
    event = events.Event(id="m", type="batch.succeeded", resource_id="r")

    assert event.is_stale() is False
    assert event == events.Event(id="m", type="batch.succeeded", resource_id="r")


# Receivers of the newest -------------------------------------------------------------------


def by_on() -> None:
    receivers.on("batch.succeeded", name="write", latest_only=True)(write)


def by_decorator() -> None:
    def decorated(event: Any, **_: Any) -> None:
        write(event)

    signals.batch_succeeded.connect(
        receivers.latest_only(decorated), weak=False, dispatch_uid="write"
    )


def by_async_non_atomic() -> None:
    async def decorated(event: Any, **_: Any) -> None:
        await Effect.objects.acreate(receiver="write", webhook_id=event.id)

    receivers.on("batch.succeeded", name="write", latest_only=True)(receivers.non_atomic(decorated))


@every_database
@pytest.mark.parametrize("connect", [by_on, by_decorator, by_async_non_atomic])
def test_older_event_is_skipped(
    database: str, static: StaticSender, connect: Callable[[], None]
) -> None:
    connect()
    post(static, "newer", 2)
    post(static, "older", 1)
    processing.drain()

    assert effects() == ["newer"]
    assert (outcomes("newer"), outcomes("older")) == (["succeeded"], ["skipped"])
    assert set(ReceiverRun.objects.values_list("state", "last_error")) == {("succeeded", "")}
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}


@sqlite
def test_events_in_their_order_all_run(static: StaticSender) -> None:
    by_on()
    for minute in range(3):
        post(static, f"m{minute}", minute)
        processing.drain()

    assert effects() == ["m0", "m1", "m2"]


@sqlite
def test_others_are_not_skipped(static: StaticSender) -> None:
    signals.batch_succeeded.connect(write, weak=False)
    post(static, "newer", 2)
    post(static, "older", 1)
    processing.drain()

    assert sorted(effects()) == ["newer", "older"]


@sqlite
def test_replay_of_an_older_event_overrides_nothing_either(static: StaticSender) -> None:
    by_on()
    for minute in (1, 2):
        post(static, f"m{minute}", minute)
        processing.drain()
    replay.replay(WebhookDelivery.objects.get(webhook_id="m1"), actor="ada")
    replay.replay(WebhookDelivery.objects.get(webhook_id="m2"), actor="ada")
    processing.drain()

    assert effects() == ["m1", "m2", "m2"]
    assert outcomes("m1") == ["succeeded", "skipped"]


@sqlite
def test_newer_event_during_the_retries_of_an_older_one_ends_them(static: StaticSender) -> None:
    @receivers.on("batch.succeeded", latest_only=True)
    def fails_at_first(event: Any, **_: Any) -> None:
        write(event)
        if event.id == "older":
            raise ValueError

    post(static, "older", 1)
    processing.drain()
    post(static, "newer", 2)
    processing.drain()
    processing.drain()

    assert effects() == ["newer"]
    assert outcomes("older")[-1] == "skipped"


# Two workers -------------------------------------------------------------------------------


class Paused:
    """A receiver of the newest event only that stops in the middle for one webhook id."""

    def __init__(self, webhook_id: str) -> None:
        self.webhook_id = webhook_id
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, event: Any, **_: Any) -> None:
        if event.id == self.webhook_id:
            self.begun.set()
            assert self.may_end.wait(30)
        write(event)


def run_of(webhook_id: str) -> int:
    delivery = WebhookDelivery.objects.get(webhook_id=webhook_id)
    processing.plan(delivery.pk)
    return ReceiverRun.objects.get(delivery=delivery).pk


def wait_until_it_runs(webhook_id: str) -> None:
    """Its thread may be slower than this one to take the run."""
    end = time.monotonic() + 20
    while ReceiverRun.objects.get(delivery__webhook_id=webhook_id).state != "running":
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def work() -> Iterator[Callable[[int], Future[Any]]]:
    """Run a run in a thread of its own."""

    def closing(run_id: int) -> Any:
        try:
            return processing.run(run_id)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        yield lambda run_id: pool.submit(closing, run_id)


@with_row_locks
def test_newer_event_waits_for_the_older_one_that_has_begun(
    database: str, static: StaticSender, work: Callable[[int], Future[Any]]
) -> None:
    paused = Paused("older")
    receivers.on("batch.succeeded", latest_only=True)(paused)
    post(static, "older", 1)
    older = work(run_of("older"))
    assert paused.begun.wait(20)

    # Nothing that a request does waits for a receiver.
    post(static, "newer", 2)
    post(static, "older", 1)
    post(static, "newer", 2)
    newer = work(run_of("newer"))
    post(static, "other", 2, id="elsewhere")
    work(run_of("other")).result(timeout=30)
    assert effects() == ["other"]
    wait_until_it_runs("newer")
    assert not newer.done()

    paused.may_end.set()
    older.result(timeout=30)
    newer.result(timeout=30)
    assert effects() == ["other", "older", "newer"]


@every_database
def test_whatever_the_order_and_the_workers_the_newest_is_written_last(
    database: str, static: StaticSender, work: Callable[[int], Future[Any]]
) -> None:
    receivers.on("batch.succeeded", latest_only=True, name="write")(write)
    for turn in range(5):
        Effect.objects.all().delete()
        for minute in (2, 1, 3, 0):
            post(static, f"{turn}-{minute}", minute, id=f"r{turn}")
        runs = [run_of(f"{turn}-{minute}") for minute in (0, 3, 1, 2)]
        for one in [work(run_id) for run_id in runs]:
            one.result(timeout=60)
        assert effects() == [f"{turn}-3"]


@every_database
def test_run_comes_back_if_the_database_would_not_wait(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    receivers.on("batch.succeeded", latest_only=True)(write)
    post(static, "m", 1)
    run_id = run_of("m")

    def busy(_: WebhookDelivery) -> None:
        raise OperationalError("Lock wait timeout exceeded")

    with monkeypatch.context() as waiting:
        waiting.setattr(deliveries, "hold_resource", busy)
        [again] = processing.run(run_id)

    assert (again.id, again.delay) == (run_id, BUSY_SECONDS)
    assert outcomes("m") == ["postponed"]
    assert ReceiverRun.objects.get().attempts == 0
