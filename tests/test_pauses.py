"""Receivers and endpoints that are paused: what is held, and how it is let go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext

from gemini_webhooks import (
    ciphers,
    clock,
    deliveries,
    dispatch,
    pausing,
    processing,
    receivers,
    replay,
    retention,
    signals,
)
from gemini_webhooks.deliveries import claims, pauses
from gemini_webhooks.models import (
    Attempt,
    Pause,
    ReceiverRun,
    ResultFile,
    SigningSecret,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.processing import Handoff
from tests.conftest import every_database
from tests.senders import StaticSender, envelope
from tests.site.models import Effect

sqlite = pytest.mark.django_db(transaction=True)


def note(event: Any, **_: Any) -> None:
    Effect.objects.create(receiver="note", webhook_id=event.id)


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> list[Handoff]:
    """What would go to the broker; a drain finds it in the database."""
    sent: list[Handoff] = []
    monkeypatch.setattr(dispatch, "_publish", lambda handoffs: not sent.extend(handoffs))
    return sent


class Time:
    """Stands still, but for what the test lets pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = clock.now().replace(microsecond=0)
        monkeypatch.setattr(clock, "now", lambda: self._now)

    def passes(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.fixture
def receiver() -> str:
    """A receiver that is connected."""
    receivers.on("batch.failed", name="note")(note)
    return "note"


def come_in(sender: StaticSender, *names: str, **data: Any) -> None:
    for name in names:
        sent = envelope("batch.failed", **data)
        assert sender.post(sent, webhook_id=name).status_code == 200


def at_endpoint(slug: str = "acme") -> tuple[WebhookEndpoint, StaticSender]:
    """An endpoint, and somebody who sends there."""
    endpoint = WebhookEndpoint.objects.create(slug=slug)
    sender = StaticSender(path=f"/webhooks/gemini/{slug}/")
    SigningSecret.objects.create(
        endpoint=endpoint, ciphertext=ciphers.encrypt(sender.secret), hint="whsec_…"
    )
    return endpoint, sender


def effects() -> list[str]:
    return list(Effect.objects.order_by("pk").values_list("webhook_id", flat=True))


def run_of(webhook_id: str) -> ReceiverRun:
    return ReceiverRun.objects.get(delivery__webhook_id=webhook_id)


def held() -> set[str]:
    runs = ReceiverRun.objects.filter(held_at__isnull=False, held_by__isnull=False)
    assert set(runs.values_list("next_attempt_at", "parked_at")) <= {(None, None)}
    return set(runs.values_list("delivery__webhook_id", flat=True))


def states() -> set[str]:
    return set(WebhookDelivery.objects.values_list("state", flat=True))


def pause(**what: Any) -> Pause:
    return pausing.pause(**what, actor="ada", reason="the ledger is down")


# What is held --------------------------------------------------------------------------------


@every_database
def test_what_a_paused_receiver_would_do_is_held(
    database: str, static: StaticSender, receiver: str
) -> None:
    receivers.on("batch.failed", name="other")(note)
    paused = pause(receiver=receiver)
    come_in(static, "a", "b")

    assert processing.drain().deliveries == 2

    runs = ReceiverRun.objects.filter(receiver=receiver)
    assert set(runs.values_list("state", "attempts", "held_by")) == {("pending", 0, paused.pk)}
    assert held() == {"a", "b"}
    assert not Attempt.objects.filter(run__in=runs).exists()
    assert sorted(effects()) == ["a", "b"]  # the other receiver's
    assert states() == {"processing"}
    # Nobody has anything to do with them.
    assert processing.sweep(everything=True).handoffs == ()
    assert processing.drain() == processing.Drained()
    assert [one.held for one in pausing.paused()] == [2]


@every_database
def test_retry_is_held_when_it_is_due(database: str, static: StaticSender) -> None:
    calls: list[str] = []

    @receivers.on("batch.failed", name="note")
    def fail_once(event: Any, **_: Any) -> None:
        calls.append(event.id)
        if len(calls) == 1:
            raise ConnectionError

    come_in(static, "a")
    [handoff] = processing.plan(WebhookDelivery.objects.get().pk)
    [retry] = processing.run(handoff.id)
    paused = pause(receiver="note")
    assert processing.run(retry.id) == []

    run = run_of("a")
    assert held() == {"a"}
    assert (run.state, run.attempts, run.last_error) == ("retrying", 1, "ConnectionError")

    pausing.resume(paused, actor="bob")
    processing.drain()
    assert calls == ["a", "a"]
    outcomes = Attempt.objects.order_by("number").values_list("outcome", "trigger")
    assert list(outcomes) == [("failed", "delivery"), ("succeeded", "retry")]
    assert states() == {"processed"}


@every_database
def test_what_is_being_executed_ends(database: str, static: StaticSender, receiver: str) -> None:
    come_in(static, "a", "b")
    first, second = (
        processing.plan(pk)[0].id for pk in WebhookDelivery.objects.values_list("pk", flat=True)
    )
    taken = deliveries.claim(first)
    assert taken
    pause(receiver=receiver)

    assert deliveries.renew(taken)
    deliveries.succeed(taken)
    with pytest.raises(deliveries.RunHeld):
        deliveries.claim(second)
    assert ReceiverRun.objects.get(pk=first).state == "succeeded"


@every_database
def test_run_of_a_dead_worker_is_held_and_its_attempt_lost(
    database: str, static: StaticSender, receiver: str
) -> None:
    come_in(static, "a")
    [handoff] = processing.plan(WebhookDelivery.objects.get().pk)
    deliveries.claim(handoff.id)
    ReceiverRun.objects.update(lease_until=clock.after(-1))
    paused = pause(receiver=receiver)

    assert processing.drain().runs == 1

    run = run_of("a")
    assert (run.state, run.claim, run.lease_until, run.attempts) == ("retrying", "", None, 1)
    assert held() == {"a"}
    assert [attempt.outcome for attempt in Attempt.objects.all()] == ["lost"]
    pausing.resume(paused, actor="bob")
    processing.drain()
    assert effects() == ["a"]


@every_database
def test_endpoint_that_is_paused(database: str, static: StaticSender, receiver: str) -> None:
    _, sender = at_endpoint()
    paused = pause(endpoint="acme")
    come_in(sender, "there")
    come_in(static, "root")

    processing.drain()

    assert held() == {"there"}
    assert effects() == ["root"]
    assert str(paused) == "acme"


@every_database
def test_root_endpoint_that_is_paused(database: str, static: StaticSender, receiver: str) -> None:
    _, sender = at_endpoint()
    paused = pause(root=True)
    come_in(sender, "there", "left")
    come_in(static, "root")
    WebhookDelivery.objects.filter(webhook_id="left").update(endpoint=None)

    processing.drain()

    assert held() == {"root", "left"}
    assert effects() == ["there"]
    assert str(paused) == "root endpoint"


@every_database
def test_held_run_takes_no_place_in_its_lane(
    database: str, static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["LANE_ROUTER"] = f"{__name__}.one_lane"
    receivers.on("batch.failed", name="note")(note)
    receivers.on("batch.expired", name="other")(note)
    pause(receiver="note")
    for name, event in (("a", "failed"), ("b", "failed"), ("c", "expired")):
        static.post(envelope(f"batch.{event}"), webhook_id=name)
        handoffs = processing.plan(WebhookDelivery.objects.get(webhook_id=name).pk)
        if name == "a":
            [first] = handoffs
    assert ReceiverRun.objects.filter(parked_at__isnull=False).count() == 2

    [second] = processing.run(first.id)
    [third] = processing.run(second.id)
    assert processing.run(third.id) == []

    assert held() == {"a", "b"}
    assert effects() == ["c"]


def one_lane(event: Any, receiver: str) -> receivers.Lane:
    return receivers.Lane(name="all", limit=1)


@every_database
def test_runs_with_a_limit_are_let_go_into_their_lane(database: str, static: StaticSender) -> None:
    receivers.on("batch.failed", name="note", limit=1)(note)
    paused = pause(receiver="note")
    come_in(static, "a", "b", "c")
    processing.drain()
    assert held() == {"a", "b", "c"}

    pausing.resume(paused, actor="bob")

    due = ReceiverRun.objects.filter(next_attempt_at__isnull=False)
    assert [run.delivery.webhook_id for run in due] == ["a"]
    assert ReceiverRun.objects.filter(parked_at__isnull=False).count() == 2
    processing.drain()
    assert effects() == ["a", "b", "c"]


@every_database
def test_result_files_are_fetched_and_their_receivers_held(
    database: str, static: StaticSender, configured: dict[str, Any], no_broker: list[Handoff]
) -> None:
    configured["FETCH_RESULTS"] = True
    signals.result_ready.connect(note, weak=False, dispatch_uid="read")
    paused = pause(receiver="result_ready:read")
    sent = envelope("batch.succeeded", output_file_uri="gs://bucket/out.jsonl")
    static.post(sent, webhook_id="a")
    fetches = processing.plan(WebhookDelivery.objects.get().pk)
    assert [handoff.kind for handoff in fetches] == ["result"]

    ResultFile.objects.update(state="complete", next_attempt_at=None)
    for _ in range(2):
        processing.drain()
        assert held() == {"a"}
        assert deliveries.unreleased(10) == []

    pausing.resume(paused, actor="bob")
    assert [handoff.kind for handoff in no_broker] == ["run"]
    processing.drain()
    assert effects() == ["a"]


@every_database
def test_replay_of_something_paused_is_held(
    database: str, static: StaticSender, receiver: str
) -> None:
    come_in(static, "a")
    processing.drain()
    paused = pause(receiver=receiver)
    delivery = WebhookDelivery.objects.get()
    replay.replay(delivery, actor="ada")
    processing.drain()
    assert held() == {"a"}
    assert states() == {"processing"}

    # A second replay starts it anew, and it is held anew.
    replay.replay(delivery, actor="eve")
    assert held() == set()
    processing.drain()
    assert held() == {"a"}
    pausing.resume(paused, actor="bob")
    processing.drain()

    assert effects() == ["a", "a"]
    assert Attempt.objects.get(number=2).actor == "eve"


@every_database
def test_held_delivery_can_be_erased_and_is_not_pruned(
    database: str, static: StaticSender, receiver: str, configured: dict[str, Any]
) -> None:
    configured["RETENTION_DAYS"] = {"payloads": 2, "deliveries": 2}
    paused = pause(receiver=receiver)
    come_in(static, "a", "b")
    processing.drain()
    WebhookDelivery.objects.update(received_at=clock.after(-9 * 24 * 3600))
    retention.prune()
    assert WebhookDelivery.objects.filter(body__isnull=False).count() == 2

    assert deliveries.erase(WebhookDelivery.objects.get(webhook_id="a").pk)

    assert held() == {"b"}
    pausing.resume(paused, actor="bob")
    processing.drain()
    assert effects() == ["b"]


# How it is let go ----------------------------------------------------------------------------


@every_database
def test_all_is_let_go_once_and_in_order(
    database: str, static: StaticSender, receiver: str, no_broker: list[Handoff]
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, "a", "b", "c")
    processing.drain()
    no_broker.clear()

    resumed = pausing.resume(paused, actor="bob")

    runs = [run_of(name).pk for name in ("a", "b", "c")]
    assert no_broker == [Handoff(kind="run", id=pk) for pk in runs]
    assert (resumed.resumed_by, resumed.rate) == ("bob", None)
    assert held() == set()
    paused.refresh_from_db()
    assert (paused.released, paused.occupies) == (3, None)
    assert paused.ended_at
    assert paused.resumed_at
    assert pausing.paused() == []

    processing.drain()
    processing.drain()
    assert effects() == ["a", "b", "c"]
    assert set(ReceiverRun.objects.values_list("state", "attempts")) == {("succeeded", 1)}
    assert states() == {"processed"}
    with pytest.raises(pausing.NotPaused, match="ended before"):
        pausing.resume(paused, actor="bob")


@every_database
def test_more_than_fits_into_one_batch(
    database: str, static: StaticSender, receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "BATCH", 2)
    monkeypatch.setattr(pausing, "FIRST", 3)
    paused = pause(receiver=receiver)
    come_in(static, *"abcdefgh")
    processing.drain()

    pausing.resume(paused, actor="bob")
    assert held() == set("defgh")
    paused.refresh_from_db()
    assert (paused.released, paused.ended_at) == (3, None)

    assert len(processing.sweep(1).handoffs) == 5
    paused.refresh_from_db()
    assert paused.released == 8
    assert paused.ended_at


@every_database
def test_rate(
    database: str,
    static: StaticSender,
    receiver: str,
    no_broker: list[Handoff],
    time: Time,
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, *"abcdefg")
    processing.drain()
    no_broker.clear()

    pausing.resume(paused, rate=3, actor="bob")

    # A minute ahead, each in its turn.
    assert [(round(handoff.delay), name_of(handoff)) for handoff in no_broker] == [
        (0, "a"),
        (20, "b"),
        (40, "c"),
    ]
    assert processing.sweep().handoffs == ()
    time.passes(30)
    assert told(processing.sweep()) == [(30, "d"), (50, "e")]
    assert processing.sweep().handoffs == ()

    # Nothing is made up for that was missed: no more than three in any minute.
    time.passes(300)
    assert told(processing.sweep()) == [(0, "f"), (20, "g")]
    paused.refresh_from_db()
    assert paused.released == 7
    assert paused.ended_at

    due = {run_of(name).next_attempt_at for name in "fg"}
    assert due == {clock.now(), clock.after(20)}


def name_of(handoff: Handoff) -> str:
    return ReceiverRun.objects.get(pk=handoff.id).delivery.webhook_id


def told(swept: processing.Swept) -> list[tuple[int, str]]:
    """What is let go in the future, and now; not what is overdue of before."""
    return [
        (round(handoff.delay), name_of(handoff))
        for handoff in swept.handoffs
        if run_of(name_of(handoff)).sweeps == 0
    ]


@every_database
def test_high_rate_is_let_go_second_by_second(
    database: str, static: StaticSender, receiver: str, no_broker: list[Handoff]
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, *"abcdefgh")
    processing.drain()
    no_broker.clear()

    pausing.resume(paused, rate=180, actor="bob")

    assert [handoff.delay for handoff in no_broker] == [0, 0, 0, 1, 1, 1, 2, 2]


@every_database
def test_drain_goes_by_the_rate_too(
    database: str, static: StaticSender, receiver: str, time: Time
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, *"abc")
    processing.drain()
    pausing.resume(paused, rate=2, actor="bob")

    assert processing.drain().runs == 1
    assert effects() == ["a"]

    assert held() == {"c"}

    time.passes(30)
    assert processing.drain().runs == 1
    assert effects() == ["a", "b"]
    assert held() == set()  # its turn is in half a minute

    time.passes(30)
    processing.drain()
    assert effects() == ["a", "b", "c"]


@every_database
def test_rate_can_be_changed_while_it_lets_go(
    database: str, static: StaticSender, receiver: str, time: Time
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, *"abcde")
    processing.drain()
    pausing.resume(paused, rate=1, actor="bob")
    assert held() == set("bcde")

    pausing.resume(paused, rate=2, actor="eve")
    assert held() == set("bcde")  # the next one's turn is a minute from now, as it was
    pausing.resume(paused, actor="eve")

    assert held() == set()
    paused.refresh_from_db()
    assert (paused.released, paused.resumed_by, paused.rate) == (5, "eve", None)


@every_database
def test_two_sweeps_at_once_keep_to_the_rate_together(
    database: str, static: StaticSender, receiver: str, time: Time
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, *"abcdef")
    processing.drain()
    pauses.lift(paused.pk, rate=2, actor="bob")

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(let_go_elsewhere) for _ in range(2)]
        groups = [group for future in found for group in future.result(timeout=30)]

    assert sorted(round(group.delay) for group in groups) == [0, 30]
    assert held() == set("cdef")
    paused.refresh_from_db()
    assert paused.released == 2


@every_database
def test_two_sweeps_at_once_let_go_each_run_once(
    database: str, static: StaticSender, receiver: str
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, *"abcdef")
    processing.drain()
    pauses.lift(paused.pk, rate=None, actor="bob")

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(let_go_elsewhere) for _ in range(2)]
        ids = [pk for future in found for group in future.result(timeout=30) for pk in group.ids]

    assert sorted(ids) == sorted(ReceiverRun.objects.values_list("pk", flat=True))
    paused.refresh_from_db()
    assert paused.released == 6


def let_go_elsewhere() -> list[deliveries.LetGo]:
    try:
        return deliveries.let_go(100)
    finally:
        connections.close_all()


@every_database
@pytest.mark.parametrize("rate", [None, 1])
def test_sweep_that_comes_too_late_changes_nothing(
    database: str,
    static: StaticSender,
    receiver: str,
    monkeypatch: pytest.MonkeyPatch,
    rate: int | None,
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, "a", "b")
    processing.drain()
    pauses.lift(paused.pk, rate=rate, actor="bob")

    def meanwhile() -> list[int]:
        pause(receiver=receiver)
        return [paused.pk]

    with monkeypatch.context() as slow:
        # It has read that the pause is lifted, when somebody pauses again.
        slow.setattr(pauses, "_holders", meanwhile)
        assert deliveries.let_go(10) == []

    assert held() == {"a", "b"}
    paused.refresh_from_db()
    assert (paused.resumed_at, paused.ended_at, paused.released) == (None, None, 0)


@every_database
def test_pause_does_not_end_that_has_begun_again(
    database: str, receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = pause(receiver=receiver)
    pauses.lift(paused.pk, rate=None, actor="bob")

    def meanwhile() -> list[int]:
        pause(receiver=receiver)
        return []

    with monkeypatch.context() as slow:
        slow.setattr(pauses, "_holders", meanwhile)
        assert deliveries.let_go(10) == []

    [again] = pausing.paused()
    assert (again.pause, again.pause.resumed_at) == (paused, None)


@every_database
def test_what_was_held_at_the_last_moment_is_not_left_behind(
    database: str, static: StaticSender, receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, "a")
    [handoff] = processing.plan(WebhookDelivery.objects.get().pk)
    with monkeypatch.context() as slow:

        def meanwhile(run: ReceiverRun, pause_id: int) -> dict[str, object]:
            # The worker has read that the receiver is paused.
            pauses.lift(paused.pk, rate=None, actor="bob")
            assert deliveries.let_go(10) == []
            return held_by(run, pause_id)

        held_by = claims._paused
        slow.setattr(claims, "_paused", meanwhile)
        assert processing.run(handoff.id) == []
    paused.refresh_from_db()
    assert paused.ended_at
    assert held() == {"a"}

    assert processing.drain().runs == 1
    assert effects() == ["a"]


@sqlite
def test_trouble_while_letting_go_costs_nothing(
    static: StaticSender,
    receiver: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(limit: int) -> list[deliveries.LetGo]:
        raise OperationalError("Deadlock found")

    paused = pause(receiver=receiver)
    come_in(static, "a")
    processing.drain()
    pauses.lift(paused.pk, rate=None, actor="bob")
    come_in(static, "b")
    with monkeypatch.context() as troubled:
        troubled.setattr(deliveries, "let_go", fail)
        assert [handoff.kind for handoff in processing.sweep(everything=True).handoffs] == [
            "delivery"
        ]

    assert "no paused runs let go: OperationalError" in caplog.text
    processing.drain()
    assert sorted(effects()) == ["a", "b"]


@every_database
def test_endpoint_that_is_deleted_lets_go(
    database: str, static: StaticSender, receiver: str
) -> None:
    endpoint, sender = at_endpoint()
    pause(endpoint="acme")
    come_in(sender, "a")
    processing.drain()
    assert held() == {"a"}

    endpoint.delete()

    assert pausing.paused() == []
    processing.drain()
    assert effects() == ["a"]


@every_database
def test_what_a_worker_of_the_version_before_ended_is_let_go_of(
    database: str, static: StaticSender, receiver: str
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, "a", "b")
    processing.drain()
    # It knows nothing of the columns.
    ReceiverRun.objects.filter(delivery__webhook_id="a").update(state="succeeded")

    pausing.resume(paused, actor="bob")

    ended = run_of("a")
    assert (ended.held_at, ended.held_by, ended.next_attempt_at) == (None, None, None)
    paused.refresh_from_db()
    assert paused.released == 1
    assert paused.ended_at


@every_database
def test_going_back_lets_all_go(database: str, static: StaticSender, receiver: str) -> None:
    pause(receiver=receiver)
    come_in(static, "a", "b")
    processing.drain()
    migration = import_module("gemini_webhooks.migrations.0006_operations")

    migration.let_all_go(apps, SimpleNamespace(connection=connections[database]))

    assert held() == set()
    assert ReceiverRun.objects.filter(next_attempt_at__lte=clock.now()).count() == 2


@every_database
def test_what_a_worker_of_the_version_before_made_due_is_claimed_as_ever(
    database: str, static: StaticSender, receiver: str
) -> None:
    paused = pause(receiver=receiver)
    come_in(static, "a")
    processing.drain()
    ReceiverRun.objects.update(next_attempt_at=clock.now())
    processing.drain()
    assert held() == {"a"}

    ReceiverRun.objects.update(next_attempt_at=clock.now())
    pauses.lift(paused.pk, rate=None, actor="bob")
    processing.run(run_of("a").pk)
    assert effects() == ["a"]
    assert held() == set()


# Several pauses ------------------------------------------------------------------------------


@every_database
def test_run_that_another_pause_covers_is_held_by_that(
    database: str, static: StaticSender, receiver: str
) -> None:
    _, sender = at_endpoint()
    first, second = pause(receiver=receiver), pause(endpoint="acme")
    come_in(sender, "a", "b")
    processing.drain()
    assert set(ReceiverRun.objects.values_list("held_by", flat=True)) == {first.pk}

    pausing.resume(first, actor="bob")
    assert processing.drain().runs == 2  # each is held again, and that is that
    assert processing.drain().runs == 0
    assert set(ReceiverRun.objects.values_list("held_by", flat=True)) == {second.pk}
    assert effects() == []
    [left] = pausing.paused()
    assert (left.pause, left.held) == (second, 2)

    pausing.resume(second, actor="bob")
    processing.drain()
    assert effects() == ["a", "b"]
    assert set(ReceiverRun.objects.values_list("attempts", flat=True)) == {1}


@every_database
def test_pausing_again_keeps_what_is_held_yet(
    database: str, static: StaticSender, receiver: str
) -> None:
    first = pause(receiver=receiver)
    come_in(static, "a", "b", "c")
    processing.drain()
    pausing.resume(first, rate=1, actor="bob")
    assert held() == {"b", "c"}

    again = pausing.pause(receiver=receiver, actor="eve", reason="still down")

    assert again.pk == first.pk
    assert (again.paused_by, again.reason, again.resumed_by) == ("eve", "still down", "")
    assert (again.resumed_at, again.rate, again.released, again.released_until) == (
        None,
        None,
        0,
        None,
    )
    processing.drain()
    assert held() == {"a", "b", "c"}
    pausing.resume(again, actor="bob")
    processing.drain()
    assert sorted(effects()) == ["a", "b", "c"]

    later = pause(receiver=receiver)
    assert later.pk != first.pk
    assert Pause.objects.count() == 2


@every_database
def test_same_is_paused_once(database: str, static: StaticSender, receiver: str) -> None:
    at_endpoint()
    every: list[dict[str, Any]] = [{"receiver": receiver}, {"endpoint": "acme"}, {"root": True}]
    for what in every:
        kept = pause(**what)
        with pytest.raises(pausing.AlreadyPaused, match=r"is paused already, since .* UTC, by ada"):
            pausing.pause(**what, actor="eve")
        assert pausing.find(**what) == kept
    assert [one.pause.kind for one in pausing.paused()] == ["receiver", "endpoint", "root"]


@every_database
def test_two_at_once_are_one_pause(database: str, receiver: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(pause_elsewhere, receiver) for _ in range(4)]
        outcomes = [future.result(timeout=30) for future in found]

    assert sorted(outcomes) == ["already", "already", "already", "paused"]
    assert Pause.objects.count() == 1


def pause_elsewhere(receiver: str) -> str:
    try:
        pause(receiver=receiver)
    except pausing.AlreadyPaused:
        return "already"
    finally:
        connections.close_all()
    return "paused"


@sqlite
def test_pause_that_ends_while_another_is_refused(
    receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "begin", lambda **_: None)

    with pytest.raises(pausing.AlreadyPaused, match=r"“note” is paused already\.$"):
        pause(receiver=receiver)


@every_database
def test_refusal_leaves_a_transaction_around_it_usable(database: str, receiver: str) -> None:
    pause(receiver=receiver)
    with transaction.atomic(using=database):
        with pytest.raises(pausing.AlreadyPaused):
            pause(receiver=receiver)
        assert Pause.objects.count() == 1


# Who can be paused ---------------------------------------------------------------------------


@every_database
def test_receivers_that_are_known(database: str, static: StaticSender, receiver: str) -> None:
    delivery = WebhookDelivery.objects.create(webhook_id="m", signing="hmac")
    for name in ("gone", "Gone", "result_ready:gone"):
        ReceiverRun.objects.create(delivery=delivery, receiver=name)
    signals.result_ready.connect(note, weak=False, dispatch_uid="read")
    signals.event_received.connect(note, weak=False, dispatch_uid="all")

    known = {"gone", "Gone", "result_ready:gone", "note", "result_ready:read", "all"}
    assert set(pausing.known_receivers()) == known
    for name in known:
        pause(receiver=name)
    with pytest.raises(pausing.UnknownName, match="No receiver “nobody” has ever run"):
        pause(receiver="nobody")
    assert pause(receiver="nobody", unknown_ok=True).receiver == "nobody"


@sqlite
@pytest.mark.parametrize("name", ["", "a\x00b", "\udc80", "x" * 256])
def test_name_that_no_receiver_can_have(name: str) -> None:
    with pytest.raises(pausing.UnknownName, match="No receiver can have that name"):
        pause(receiver=name, unknown_ok=True)
    with pytest.raises(pausing.UnknownName):
        pausing.find(receiver=name)


@every_database
@pytest.mark.parametrize("slug", ["nowhere", "a\x00b"])
def test_endpoint_that_is_not_there(database: str, slug: str) -> None:
    with pytest.raises(pausing.UnknownName, match="There is no endpoint"):
        pause(endpoint=slug)
    with pytest.raises(pausing.UnknownName):
        pausing.find(endpoint=slug)


@sqlite
def test_what_is_not_paused_cannot_be_found() -> None:
    with pytest.raises(pausing.NotPaused, match="“note” is not paused"):
        pausing.find(receiver="note")
    with pytest.raises(pausing.NotPaused, match="“root endpoint” is not paused"):
        pausing.find(root=True)


@pytest.mark.parametrize("what", [{}, {"receiver": "a", "root": True}])
def test_one_thing_has_to_be_named(what: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of them"):
        pause(**what)


@sqlite
@pytest.mark.parametrize("rate", [0, -1, 1_000_001, 1.5, True, "3"])
def test_rate_that_is_none(receiver: str, rate: Any) -> None:
    paused = pause(receiver=receiver)

    with pytest.raises(pausing.InvalidRate, match="whole number from 1 to 1000000"):
        pausing.resume(paused, rate=rate, actor="bob")


@every_database
def test_long_and_strange_words_are_stored(database: str, receiver: str) -> None:
    paused = pausing.pause(receiver=receiver, actor="\x00" * 999, reason="\udcff" * 999)
    assert (len(paused.paused_by), len(paused.reason)) == (255, 500)

    resumed = pausing.resume(paused, actor="\udcff" * 999)
    assert resumed.resumed_by == "?" * 255


@sqlite
def test_without_time_zones(
    static: StaticSender, receiver: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.USE_TZ = False
    Time(monkeypatch)
    paused = pause(receiver=receiver)
    come_in(static, "a", "b")
    processing.drain()
    with pytest.raises(pausing.AlreadyPaused):
        pause(receiver=receiver)

    pausing.resume(paused, rate=1, actor="bob")
    processing.drain()

    assert effects() == ["a"]
    assert held() == {"b"}


# What it costs -------------------------------------------------------------------------------


@every_database
def test_claim_asks_no_more_often_than_without_pauses(
    database: str, static: StaticSender, receiver: str
) -> None:
    at_endpoint()
    pause(endpoint="acme")
    come_in(static, "a")
    [handoff] = processing.plan(WebhookDelivery.objects.get().pk)

    with CaptureQueriesContext(connections[database]) as queries:
        deliveries.claim(handoff.id)

    statements = [query["sql"].split()[0] for query in queries]
    assert [word for word in statements if word in ("SELECT", "UPDATE")] == ["SELECT", "UPDATE"]
