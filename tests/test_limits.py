"""Limits on how many runs are executed at once, for a receiver, a tenant, or what a router says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from importlib import import_module
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import OperationalError, connections

from gemini_webhooks import RetryLater, clock, deliveries, processing, receivers, replay, signals
from gemini_webhooks.models import Attempt, Lane, ReceiverRun, ResultFile, WebhookDelivery
from gemini_webhooks.processing import Handoff, running
from gemini_webhooks.receivers import Lane as LaneOf
from tests.conftest import every_database
from tests.senders import StaticSender, envelope
from tests.site.models import Effect

sqlite = pytest.mark.django_db(transaction=True)


class Crowd:
    """Runs in threads of their own, and a receiver that holds them until it is told to go on."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self._changed = threading.Condition()
        self._open = False
        self._pool = ThreadPoolExecutor(8)

    def receive(self, event: Any, **_: Any) -> None:
        with self._changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._open, timeout=30)
            self.inside -= 1
        Effect.objects.create(receiver="crowd", webhook_id=event.id)

    def start(self, *run_ids: int) -> list[Future[list[Handoff]]]:
        return [self._pool.submit(self._run, run_id) for run_id in run_ids]

    def wait_for(self, inside: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.inside == inside, timeout=30)

    def go_on(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def end(self) -> None:
        self.go_on()
        self._pool.shutdown()

    @staticmethod
    def _run(run_id: int) -> list[Handoff]:
        try:
            return processing.run(run_id)
        finally:
            connections.close_all()


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    crowd = Crowd()
    yield crowd
    crowd.end()


def come_in(static: StaticSender, *names: str, tenant: str = "acme") -> list[Handoff]:
    """Events of a tenant, taken into processing; returns what can start."""
    handoffs: list[Handoff] = []
    for name in names:
        sent = envelope("batch.failed", user_metadata={"tenant": tenant})
        assert static.post(sent, webhook_id=name).status_code == 200
        handoffs += processing.plan(WebhookDelivery.objects.get(webhook_id=name).pk)
    return handoffs


def names_of(handoffs: list[Handoff]) -> list[str]:
    ids = [handoff.id for handoff in handoffs]
    found = dict(ReceiverRun.objects.filter(pk__in=ids).values_list("pk", "delivery__webhook_id"))
    return [found[pk] for pk in ids]


def parked() -> set[str]:
    runs = ReceiverRun.objects.filter(parked_at__isnull=False, next_attempt_at=None)
    return set(runs.values_list("delivery__webhook_id", flat=True))


def note(event: Any, **_: Any) -> None:
    Effect.objects.create(receiver="note", webhook_id=event.id)


def effects() -> list[str]:
    return list(Effect.objects.order_by("pk").values_list("webhook_id", flat=True))


# The limit holds -----------------------------------------------------------------------------


@every_database
def test_no_more_are_executed_at_once_whoever_starts_them(
    database: str, static: StaticSender, crowd: Crowd
) -> None:
    @receivers.on("batch.failed", name="crowd", limit=2)
    @receivers.non_atomic  # or SQLite alone would let in one after the other
    def hold(event: Any, **_: Any) -> None:
        crowd.receive(event)

    come_in(static, "a", "b", "c", "d", "e")
    runs = ReceiverRun.objects.order_by("pk")
    # As if messages for all of them came at the same moment.
    runs.update(parked_at=None, next_attempt_at=clock.now())

    started = crowd.start(*runs.values_list("pk", flat=True))
    turned_away = [future.result() for future in islice(as_completed(started, timeout=30), 3)]
    crowd.wait_for(2)
    assert turned_away == [[], [], []]
    assert len(parked()) == 3

    crowd.go_on()
    handoffs = [handoff for future in started for handoff in future.result(timeout=30)]
    assert len(effects()) == 2
    assert len(handoffs) in (2, 3)  # who leaves last may find that both places are free
    processing.drain()

    assert crowd.most == 2
    assert sorted(effects()) == ["a", "b", "c", "d", "e"]
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}
    assert set(ReceiverRun.objects.values_list("lane", "attempts")) == {("", 1)}


@every_database
def test_burst_of_one_tenant_leaves_the_others_their_places(
    database: str, static: StaticSender
) -> None:
    receivers.on("batch.failed", name="note", limit=2, per="tenant")(note)

    burst = come_in(static, "a1", "a2", "a3", "a4", tenant="acme")
    other = come_in(static, "g1", tenant="globex")

    assert names_of(burst) == ["a1", "a2"]
    assert names_of(other) == ["g1"]
    assert parked() == {"a3", "a4"}
    assert names_of(processing.run(burst[1].id)) == ["a3"]
    assert names_of(processing.run(burst[0].id)) == ["a4"]


@every_database
def test_parked_runs_are_in_nobody_s_way(database: str, static: StaticSender) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    [first] = come_in(static, "a", "b", "c")

    assert processing.sweep(everything=True).handoffs == (first,)
    assert parked() == {"b", "c"}

    assert processing.drain().runs == 3
    assert effects() == ["a", "b", "c"]


@every_database
def test_sweep_lets_in_who_was_forgotten(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    [first] = come_in(static, "a", "b")
    with monkeypatch.context() as dying:
        # The worker ends after its commit and before it lets in the next.
        dying.setattr(running, "admitted", lambda lane: [])
        assert processing.run(first.id) == []

    assert names_of(list(processing.sweep().handoffs)) == ["b"]


@sqlite
def test_database_trouble_while_letting_in_costs_nothing(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(lane: str) -> list[int]:
        raise OperationalError("deadlock")

    @receivers.on("batch.failed", name="note", limit=1)
    def again(event: Any, **_: Any) -> None:
        raise RetryLater(3600)

    [first] = come_in(static, "a", "b")
    with monkeypatch.context() as troubled:
        troubled.setattr(deliveries, "admit", fail)
        [retry] = processing.run(first.id)

    assert retry.id == first.id
    assert names_of(list(processing.sweep().handoffs)) == ["b"]


@every_database
def test_run_that_waits_for_its_next_attempt_gives_up_its_place(
    database: str, static: StaticSender
) -> None:
    asked: list[str] = []

    @receivers.on("batch.failed", name="note", limit=1)
    def later(event: Any, **_: Any) -> None:
        asked.append(event.id)
        if asked.count(event.id) == 1 and event.id == "a":
            raise RetryLater(3600)

    [first] = come_in(static, "a", "b", "c")
    again, second = processing.run(first.id)

    assert (again.id, again.delay) == (first.id, 3600)
    assert names_of([second]) == ["b"]
    ReceiverRun.objects.filter(pk=first.id).update(next_attempt_at=clock.now())
    # Its time has come, and “b” has not begun: no place for “c”.
    assert processing.sweep(everything=True).handoffs == (second, first)
    assert parked() == {"c"}
    processing.drain()
    assert sorted(asked) == ["a", "a", "b", "c"]


@every_database
def test_place_of_a_dead_worker_is_free_after_its_lease(
    database: str, static: StaticSender
) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    [first] = come_in(static, "a", "b")
    deliveries.claim(first.id)
    assert processing.sweep().handoffs == ()

    ReceiverRun.objects.filter(pk=first.id).update(lease_until=clock.after(-1))
    found = {names_of([handoff])[0]: handoff for handoff in processing.sweep().handoffs}
    lost, second = found.pop("a"), found.pop("b")

    assert found == {}
    deliveries.claim(second.id)
    assert processing.run(lost.id) == []  # its place was taken
    run = ReceiverRun.objects.get(pk=lost.id)
    assert (run.state, run.claim, run.attempts) == ("retrying", "", 1)
    assert parked() == {"a"}
    [attempt] = Attempt.objects.filter(run=run)
    assert attempt.outcome == "lost"


@every_database
def test_replay_waits_for_its_turn(database: str, static: StaticSender) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    come_in(static, "a", "b")
    processing.drain()
    for name in ("a", "b"):
        replay.replay(WebhookDelivery.objects.get(webhook_id=name), actor="ada")

    assert parked() == {"b"}
    processing.drain()
    assert effects() == ["a", "b", "a", "b"]
    triggers = Attempt.objects.order_by("pk").values_list("trigger", flat=True)
    assert list(triggers) == ["delivery", "delivery", "replay", "replay"]


@every_database
def test_receivers_of_results_wait_for_the_file_then_for_their_turn(
    database: str, static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["FETCH_RESULTS"] = True

    @receivers.limited(1)
    def read(event: Any, **_: Any) -> None:
        note(event)

    signals.result_ready.connect(read, weak=False, dispatch_uid="read")
    for name in ("a", "b"):
        sent = envelope("batch.succeeded", output_file_uri="gs://bucket/out.jsonl")
        static.post(sent, webhook_id=name)
        processing.plan(WebhookDelivery.objects.get(webhook_id=name).pk)
    assert parked() == set()

    ResultFile.objects.update(state="complete", next_attempt_at=None)
    [first] = processing.sweep().handoffs
    assert names_of([first]) == ["a"]
    assert parked() == {"b"}
    assert processing.sweep().handoffs == ()

    # A replay of both, while the file of one has to be fetched again.
    processing.drain()
    ResultFile.objects.filter(delivery__webhook_id="a").update(state="failed")
    for name in ("a", "b"):
        replay.replay(WebhookDelivery.objects.get(webhook_id=name), actor="ada")
    assert parked() == set()
    due = ReceiverRun.objects.filter(next_attempt_at__isnull=False)
    assert [run.delivery.webhook_id for run in due] == ["b"]


# Who shares a limit --------------------------------------------------------------------------


def lane_by_tenant(event: Any, receiver: str) -> LaneOf | None:
    tenant = event.user_metadata["tenant"]
    return None if receiver == "free" else LaneOf(name=f"tenant {tenant}", limit=2)


def lane_of_another_kind(event: Any, receiver: str) -> Any:
    return "tenant acme"


@sqlite
def test_router_lets_receivers_share(static: StaticSender, configured: dict[str, Any]) -> None:
    configured["LANE_ROUTER"] = f"{__name__}.lane_by_tenant"
    for name in ("one", "two", "three", "free"):
        receivers.on("batch.failed", name=name, limit=1)(note)

    come_in(static, "a")

    runs = ReceiverRun.objects.order_by("pk")
    assert list(runs.values_list("receiver", "lane")) == [
        ("one", "tenant acme"),
        ("two", "tenant acme"),
        ("three", "tenant acme"),
        ("free", "free"),  # the router has nothing to say about it, and its own limit holds
    ]
    assert [run.receiver for run in runs if run.parked_at] == ["three"]
    assert dict(Lane.objects.values_list("name", "limit")) == {"tenant acme": 2, "free": 1}


@sqlite
@pytest.mark.parametrize(
    ("router", "tenant", "said"),
    [
        ("lane_by_tenant", None, "LANE_ROUTER failed for note of a: KeyError"),
        ("lane_of_another_kind", "acme", "LANE_ROUTER returned str for note of a"),
    ],
)
def test_router_that_is_wrong_stops_nothing(
    static: StaticSender,
    configured: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    router: str,
    tenant: str | None,
    said: str,
) -> None:
    configured["LANE_ROUTER"] = f"{__name__}.{router}"
    receivers.on("batch.failed", name="note", limit=3)(note)
    metadata = {"tenant": tenant} if tenant else {}

    static.post(envelope("batch.failed", user_metadata=metadata), webhook_id="a")
    processing.plan(WebhookDelivery.objects.get().pk)

    assert said in caplog.text
    assert ReceiverRun.objects.get().lane == "note"


@sqlite
def test_values_are_told_apart(static: StaticSender) -> None:
    @receivers.limited(1, per="tenant")
    def note_too(event: Any, **_: Any) -> None:
        note(event)

    signals.batch_failed.connect(note_too, weak=False, dispatch_uid="n")
    values: list[Any] = ["1", 1, None, {"b": 1, "a": 2}, "x" * 300, "x" * 299]
    for number, value in enumerate(values):
        come_in(static, f"m{number}", tenant=value)

    lanes = list(ReceiverRun.objects.order_by("pk").values_list("lane", flat=True))
    assert lanes[:4] == ['n tenant="1"', "n tenant=1", "n tenant=null", 'n tenant={"a": 2, "b": 1}']
    assert len(set(lanes)) == 6
    assert [len(lane) for lane in lanes[4:]] == [255, 255]
    assert processing.drain().runs == 6


@sqlite
def test_changed_limit_holds_from_the_next_event_on(static: StaticSender) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    come_in(static, "a", "b", "c")
    signals.batch_failed.receivers = []
    signals.batch_failed.sender_receivers_cache.clear()
    receivers.on("batch.failed", name="note", limit=3)(note)

    assert names_of(come_in(static, "d")) == ["b", "c"]
    assert Lane.objects.get().limit == 3


@pytest.mark.parametrize("limit", [0, -1, 2.5, float("inf"), float("nan"), True, "3", 2**31])
def test_what_is_no_limit_is_refused(limit: Any) -> None:
    for refused in (
        lambda: receivers.on("batch.failed", limit=limit),
        lambda: receivers.limited(limit),
        lambda: LaneOf(name="lane", limit=limit),
    ):
        with pytest.raises(ValueError, match="from 1 to"):
            refused()


@pytest.mark.parametrize("name", ["", None, 7, ["acme"], {"a": 1}])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="name of a lane"):
        LaneOf(name=name, limit=1)


def test_limit_for_what_goes_with_a_limit() -> None:
    with pytest.raises(ValueError, match="give a limit"):
        receivers.on("batch.failed", per="tenant")


def test_one_receiver_has_one_limit() -> None:
    receivers.on("batch.failed", limit=2)(note)
    receivers.on("batch.expired", limit=2)(note)
    receivers.on("batch.cancelled")(note)
    receivers.on("batch.succeeded", name="other", limit=3)(note)

    with pytest.raises(ValueError, match="a name of its own"):
        receivers.on("batch.succeeded", limit=3)(note)


HOSTILE = {"NUL": "a\x00b", "surrogate": "a\udcffb", "long": "x" * 5000, "lines": "a\r\nb"}


def lane_as_sent(event: Any, receiver: str) -> LaneOf:
    return LaneOf(name=HOSTILE.get(event.resource_id, event.data.get("lane")), limit=1)


@every_database
def test_no_lane_is_too_strange(
    database: str, static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["LANE_ROUTER"] = f"{__name__}.lane_as_sent"
    receivers.on("batch.failed", name="note")(note)
    for name in HOSTILE:
        static.post(envelope("batch.failed", id=name), webhook_id=name)
    static.post(envelope("batch.failed", id="list", lane=[1]), webhook_id="list")

    processing.drain()

    assert sorted(effects()) == sorted([*HOSTILE, "list"])
    assert Lane.objects.count() == len(HOSTILE)  # the list is no name, so there is no limit


# What could hold others up ---------------------------------------------------------------------


@every_database
def test_who_comes_back_goes_before_younger_ones(database: str, static: StaticSender) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    first, *_ = come_in(static, "a", "b", "c")
    runs = ReceiverRun.objects.order_by("pk")
    # “a” was tried and is due again, but “b” has its place.
    runs.filter(pk=first.id).update(state="retrying", attempts=1)
    runs.filter(delivery__webhook_id="b").update(parked_at=None, next_attempt_at=clock.now())
    second = deliveries.claim(runs[1].pk)
    assert second is not None
    assert processing.run(first.id) == []
    assert parked() == {"a", "c"}

    deliveries.succeed(second)

    assert names_of(list(processing.sweep().handoffs)) == ["a"]


@every_database
def test_run_that_no_worker_takes_holds_its_place_for_a_moment_only(
    database: str, static: StaticSender
) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    [first] = come_in(static, "a", "b", "c")
    runs = ReceiverRun.objects
    assert processing.sweep().handoffs == ()

    runs.filter(pk=first.id).update(next_attempt_at=clock.after(-61))
    assert sorted(names_of(list(processing.sweep().handoffs))) == ["a", "b"]
    assert parked() == {"c"}


@every_database
def test_lane_without_its_row_has_no_limit(database: str, static: StaticSender) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    come_in(static, "a", "b", "c")
    Lane.objects.all().delete()

    assert processing.sweep().handoffs == ()
    processing.drain()
    assert effects() == ["a", "b", "c"]


@sqlite
def test_run_that_is_given_up_leaves_its_lane(
    static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["MAX_ATTEMPTS"] = 1
    receivers.on("batch.failed", name="note", limit=1)(note)
    [first] = come_in(static, "a", "b")
    deliveries.claim(first.id)
    ReceiverRun.objects.filter(pk=first.id).update(lease_until=clock.after(-1))

    assert names_of(processing.run(first.id)) == ["b"]
    dead = ReceiverRun.objects.get(pk=first.id)
    assert (dead.state, dead.lane) == ("dead", "")


@sqlite
def test_place_of_a_late_worker_is_given_away_at_once(static: StaticSender) -> None:
    @receivers.on("batch.failed", name="note", limit=1)
    @receivers.non_atomic
    def slow(event: Any, **_: Any) -> None:
        ReceiverRun.objects.filter(delivery__webhook_id="a").update(state="succeeded", lane="")

    [first] = come_in(static, "a", "b")

    assert names_of(processing.run(first.id)) == ["b"]


@sqlite
def test_receivers_whose_file_never_comes_leave_their_lane(
    static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["FETCH_RESULTS"] = True
    signals.result_ready.connect(receivers.limited(1)(lambda **_: None), weak=False)
    static.post(envelope("batch.succeeded", output_file_uri="gs://bucket/out.jsonl"))
    processing.plan(WebhookDelivery.objects.get().pk)
    assert ReceiverRun.objects.get().lane != ""

    ResultFile.objects.update(state="failed", next_attempt_at=None)
    processing.sweep()

    run = ReceiverRun.objects.get()
    assert (run.state, run.lane) == ("dead", "")


@sqlite
def test_replay_without_the_limit_of_then_starts_at_once(static: StaticSender) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    come_in(static, "a", "b")
    signals.batch_failed.receivers = []
    signals.batch_failed.sender_receivers_cache.clear()
    receivers.on("batch.failed", name="note")(note)

    replay.replay(WebhookDelivery.objects.get(webhook_id="b"), actor="ada")

    run = ReceiverRun.objects.get(delivery__webhook_id="b")
    assert (run.lane, run.parked_at) == ("", None)
    assert run.next_attempt_at is not None


@every_database
def test_what_a_worker_of_the_version_before_ended_takes_no_place(
    database: str, static: StaticSender
) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    come_in(static, "a", "b", "c")
    # It knows nothing of lanes: what it ends keeps its columns.
    ReceiverRun.objects.filter(delivery__webhook_id="b").update(state="succeeded")
    ReceiverRun.objects.filter(delivery__webhook_id="a").update(
        state="succeeded", next_attempt_at=None
    )

    assert names_of(list(processing.sweep().handoffs)) == ["c"]


@every_database
def test_going_back_lets_all_in(database: str, static: StaticSender) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    come_in(static, "a", "b", "c")
    migration = import_module("gemini_webhooks.migrations.0004_limits")

    migration.let_all_in(apps, SimpleNamespace(connection=connections[database]))

    assert parked() == set()
    assert ReceiverRun.objects.filter(next_attempt_at__lte=clock.now()).count() == 3


@every_database
def test_drain_takes_who_was_let_in_meanwhile(database: str, static: StaticSender) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    come_in(static, "a", "b", "c", "d")
    # All messages came at once: the first drain finds the lane full for all but one.
    ReceiverRun.objects.update(parked_at=None, next_attempt_at=clock.now())

    assert processing.drain().runs >= 4
    assert sorted(effects()) == ["a", "b", "c", "d"]
