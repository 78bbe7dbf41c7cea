"""What the task that plans deliveries does itself, and what it hands on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from django.db import Error as DatabaseTrouble
from django.db import connections

from gemini_webhooks import GiveUp, RetryLater, deliveries, processing, receivers, replay, tasks
from gemini_webhooks.dispatch import messages
from gemini_webhooks.models import Attempt, Pause, ReceiverRun, WebhookDelivery
from gemini_webhooks.processing import Handoff, passing, planning, quickness, running
from tests.conftest import every_database
from tests.senders import StaticSender
from tests.site.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is that the tests run on."""
    monkeypatch.setattr(passing, "BUDGET_SECONDS", 60)
    monkeypatch.setattr(quickness, "QUICK_SECONDS", 20)
    monkeypatch.setattr(quickness, "SLOW_SECONDS", 60)


def connect(name: str, does: Callable[..., Any] = lambda **_: None, **options: Any) -> list[str]:
    """Connect a receiver; what is returned gets the id of each event that it is called with."""
    calls: list[str] = []

    def receiver(event: Any, **arguments: Any) -> None:
        calls.append(event.id)
        does(event=event, **arguments)

    receivers.on("batch.succeeded", name=name, **options)(receiver)
    return calls


def is_known_as_quick(*names: str) -> None:
    for name in names:
        with quickness.measured(name):
            pass


def is_known_as_slow(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(quickness._took, name, 100.0)


def stored(static: StaticSender, *ids: str) -> list[int]:
    for webhook_id in ids:
        assert static.post(webhook_id=webhook_id).status_code == 200
    return list(WebhookDelivery.objects.order_by("pk").values_list("pk", flat=True))


def planned(ids: list[int], **options: Any) -> list[str]:
    """What is handed on: the receivers, in their order."""
    options.setdefault("comes_here", lambda _: True)
    handoffs = list(processing.plan_all(ids, **options))
    return [ReceiverRun.objects.get(pk=handoff.id).receiver for handoff in handoffs]


def states() -> dict[str, str]:
    return dict(ReceiverRun.objects.values_list("receiver", "state"))


@every_database
def test_quick_receivers_are_run_at_once(static: StaticSender, database: str) -> None:
    def note(event: Any, **_: Any) -> None:
        Effect.objects.create(receiver="a", webhook_id=event.id)

    connect("a", note)
    is_known_as_quick("a")

    assert planned(stored(static, "m", "n")) == []

    assert set(Effect.objects.values_list("webhook_id", flat=True)) == {"m", "n"}
    runs = ReceiverRun.objects.values_list("state", "attempts", "next_attempt_at", "lease_until")
    assert list(runs) == 2 * [("succeeded", 1, None, None)]
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}
    log = Attempt.objects.values_list("number", "trigger", "outcome")
    assert list(log) == 2 * [(1, "delivery", "succeeded")]


def test_slow_ones_are_handed_on_before_the_first_quick_one_begins(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, slow = connect("quick"), connect("slow")
    is_known_as_quick("quick")
    is_known_as_slow(monkeypatch, "slow")
    found = processing.plan_all(stored(static, "m", "n"), comes_here=lambda _: True)

    for _ in range(2):
        assert next(found).kind == "run"
        assert quick == []

    assert list(found) == []
    assert (quick, slow) == (["m", "n"], [])
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processing"}


def test_of_those_not_known_yet_one_is_run_last(static: StaticSender) -> None:
    connect("quick")
    connect("new")
    connect("newer")
    is_known_as_quick("quick")

    assert planned(stored(static, "m", "n")) == ["newer", "new", "newer"]
    assert list(Attempt.objects.order_by("pk").values_list("run__receiver", flat=True)) == [
        "quick",
        "quick",
        "new",
    ]
    assert quickness.is_quick("new")


def test_what_is_left_when_one_takes_long_is_handed_on(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(passing, "time", clock)
    monkeypatch.setattr(quickness, "time", clock)
    slow = connect("becomes slow", lambda **_: now.__setitem__(0, 100.0))
    other = connect("quick")
    is_known_as_quick("becomes slow", "quick")

    assert planned(stored(static, "m")) == ["quick"]

    assert (slow, other) == (["m"], [])
    assert states() == {"becomes slow": "succeeded", "quick": "pending"}
    assert not quickness.is_quick("becomes slow")


def test_what_does_not_come_here_or_has_a_limit_is_handed_on(static: StaticSender) -> None:
    connect("here")
    connect("elsewhere", queue="other")
    connect("limited", limit=1)
    is_known_as_quick("here", "elsewhere", "limited")

    found = planned(stored(static, "m"), comes_here=lambda handoff: handoff.queue != "other")

    assert sorted(found) == ["elsewhere", "limited"]
    assert states()["here"] == "succeeded"


def test_one_that_fails_does_what_it_does_elsewhere(static: StaticSender) -> None:
    def fails(error: BaseException) -> Callable[..., None]:
        def fail(**_: Any) -> None:
            Effect.objects.create(receiver="x", webhook_id="x")
            raise error

        return fail

    connect("fails", fails(ValueError("no")))
    connect("later", fails(RetryLater(30)))
    connect("gives up", fails(GiveUp("no use")))
    connect("exits", fails(SystemExit(1)))
    connect("sound")
    is_known_as_quick("fails", "later", "gives up", "exits", "sound")

    assert planned(stored(static, "m")) == ["fails", "later", "exits"]

    assert states() == {
        "fails": "retrying",
        "later": "retrying",
        "gives up": "dead",
        "exits": "retrying",
        "sound": "succeeded",
    }
    assert not Effect.objects.exists()
    assert WebhookDelivery.objects.get().state == "failed"


def test_trouble_with_one_hands_it_on_and_all_the_others(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the connection, which the others would have as well."""
    calls = connect("a")
    is_known_as_quick("a")
    ids = stored(static, "m", "n")
    claim = deliveries.claim_new

    def broken(run: ReceiverRun) -> Any:
        if run.delivery.webhook_id == "m":
            raise RuntimeError("the first one")
        return claim(run)

    monkeypatch.setattr(deliveries, "claim_new", broken)
    handed_on: list[Handoff] = []
    with pytest.raises(RuntimeError):
        handed_on.extend(processing.plan_all(ids, comes_here=lambda _: True))

    assert (len(handed_on), calls) == (2, [])


@every_database
@pytest.mark.parametrize("what", ["receiver", "root"])
def test_pauses_hold_what_would_be_run_at_once(
    static: StaticSender, database: str, what: str
) -> None:
    calls = connect("a")
    is_known_as_quick("a")
    name = "a" if what == "receiver" else ""
    pause = Pause.objects.create(kind=what, receiver=name, occupies=f"{what}:{name}")

    assert planned(stored(static, "m")) == []

    assert calls == []
    assert ReceiverRun.objects.get().held_by == pause.pk


def test_what_somebody_else_has_taken_is_not_run(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = connect("a")
    is_known_as_quick("a")
    claim = deliveries.claim_new

    def too_late(run: ReceiverRun) -> Any:
        assert deliveries.claim(run.pk)
        return claim(run)

    monkeypatch.setattr(deliveries, "claim_new", too_late)

    assert planned(stored(static, "m")) == []
    assert calls == []


def test_receivers_do_not_see_what_others_did_to_the_delivery(static: StaticSender) -> None:
    seen: list[Any] = []

    def changes(delivery: WebhookDelivery, **_: Any) -> None:
        seen.append((dict(delivery.user_metadata), delivery.state))
        delivery.user_metadata["changed"] = True

    connect("a", changes)
    connect("b", changes)
    is_known_as_quick("a", "b")

    planned(stored(static, "m"))

    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert seen[0][1] == WebhookDelivery.State.PROCESSING


def test_a_message_that_comes_again_hands_on_what_is_due(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first worker planned, and died over the first receiver."""
    connect("dies", lambda **_: (_ for _ in ()).throw(KeyboardInterrupt))
    connect("left")
    is_known_as_quick("dies", "left")
    ids = stored(static, "m")
    with pytest.raises(KeyboardInterrupt):
        planned(ids)

    assert planned(ids) == []
    assert planned(ids, again=True) == ["left"]


def test_what_was_planned_long_ago_is_taken_as_it_is_now(static: StaticSender) -> None:
    """Somebody else has run it meanwhile, and a replay has made it look as new."""
    told: list[bool] = []
    connect("a", lambda event, **_: told.append(event.is_replay))
    [delivery_id] = stored(static, "m")
    [run] = planning.plan_new(delivery_id).runs.values()
    processing.run(run.pk)
    replay.replay(WebhookDelivery.objects.get(), actor="ada")
    run.created_at -= timedelta(minutes=1)

    running.run_new(run)

    assert told == [False, True]
    assert ReceiverRun.objects.get().state == "succeeded"


@every_database
def test_a_connection_that_is_gone_costs_one_delivery_no_other(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("a")
    ids = stored(static, "m", "n", "o")
    read = deliveries.delivery_of

    def cut(delivery_id: int) -> WebhookDelivery | None:
        if delivery_id == ids[0]:
            connection = connections[database]
            connection.ensure_connection()
            connection.connection.close()
        return read(delivery_id)

    monkeypatch.setattr(deliveries, "delivery_of", cut)
    with pytest.raises(DatabaseTrouble):
        planned(ids)

    assert ReceiverRun.objects.filter(delivery__in=ids[1:]).count() == 2


def test_a_task_that_is_called_as_a_function_runs_nothing(static: StaticSender) -> None:
    calls = connect("a")
    is_known_as_quick("a")

    tasks.dispatch(*stored(static, "m"))

    assert calls == []
    assert states() == {"a": "pending"}


@pytest.fixture
def app() -> Celery:
    return messages.site_app()


def taken_from(queue: str, **fields: Any) -> messages.Taken:
    return messages.Taken(**{"address": ("", queue), "limits": (None, None), **fields})


def run(queue: str | None = None) -> Handoff:
    return Handoff(kind="run", id=1, queue=queue)


def test_messages_come_here_by_the_queue_of_their_receiver(app: Celery) -> None:
    assert taken_from("celery").comes_here(run())
    assert taken_from("nightly").comes_here(run("nightly"))
    assert not taken_from("celery").comes_here(run("nightly"))
    assert not taken_from("nightly").comes_here(run())
    assert not taken_from("celery").comes_here(Handoff(kind="result", id=1))
    assert not taken_from("celery", address=("own", "celery")).comes_here(run())
    assert not messages.Taken().comes_here(run())


def test_messages_do_not_come_here_that_are_routed_or_limited(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = app.tasks[messages.TASKS["run"]]
    here = taken_from("celery")
    for name, value in (
        ("rate_limit", "1/m"),
        ("time_limit", 5),
        ("soft_time_limit", 5),
        ("queue", "own"),
        ("priority", 3),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(task, name, value, raising=False)
            assert not here.comes_here(run()), name
    with monkeypatch.context() as patch:
        patch.setattr(app.amqp.router, "routes", [lambda *_, **__: {"queue": "by a route"}])
        assert not here.comes_here(run())
        assert taken_from("by a route").comes_here(run())
