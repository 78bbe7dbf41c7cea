"""Replays as rows: who asked for what, how far it is, and what became of each delivery.

A bulk replay goes through its deliveries in the order of their ids, in steps. Whoever takes a
step holds it until ``next_step_at``, which is moved on with every delivery and is what the
statements that follow compare: somebody who was thought dead writes nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, QuerySet

from gemini_webhooks import clock
from gemini_webhooks.deliveries.claims import CLOCK_SKEW_SECONDS
from gemini_webhooks.deliveries.common import LEASE_SECONDS, alias, rows
from gemini_webhooks.deliveries.selection import Selection, select
from gemini_webhooks.models import ReceiverRun, Replay, ReplayedDelivery, WebhookDelivery
from gemini_webhooks.storable import storable_text

MAX_REASON_LENGTH = 500
MAX_ACTOR_LENGTH = 255


class StepLost(Exception):
    """The replay was stopped, or another worker goes on with it."""


@dataclass(kw_only=True)
class Step:
    """The right to go on with a replay, until ``held_until``.

    Attributes:
        replay: as it was when the step was taken.
        due: when it was to be taken.
    """

    replay: Replay
    due: datetime
    held_until: datetime


def meant(selection: Selection, what: str) -> QuerySet[WebhookDelivery]:
    """The deliveries of ``selection`` that a replay of ``what`` is about, in no order."""
    found = select(selection)
    if what != Replay.What.FAILED:
        return found
    dead = rows(ReceiverRun).filter(state=ReceiverRun.State.DEAD).order_by()
    return found.filter(pk__in=dead.values_list("delivery_id", flat=True))


def begin(
    selection: Selection,
    *,
    what: str,
    receivers: Sequence[str],
    rate: int | None,
    actor: str,
    reason: str,
) -> Replay:
    """Write down a replay of all that ``selection`` finds now; its first step is due."""
    last = rows(WebhookDelivery).order_by().aggregate(last=Max("pk"))["last"] or 0
    return _write(
        what=what,
        receivers=receivers,
        selection=selection,
        actor=actor,
        reason=reason,
        rate=rate,
        total=meant(selection, what).filter(pk__lte=last).count(),
        last=last,
        next_step_at=clock.now(),
    )


def note_single(
    delivery: WebhookDelivery,
    *,
    what: str,
    receivers: Sequence[str],
    actor: str,
    reason: str,
    runs: int,
) -> Replay:
    """Write down the replay of one delivery, which is done. Call it in the transaction of it."""
    replay = _write(
        what=what,
        receivers=receivers,
        selection=Selection(ids=(delivery.pk,)),
        actor=actor,
        reason=reason,
        state=Replay.State.FINISHED,
        total=1,
        replayed=1,
        position=delivery.pk,
        last=delivery.pk,
        finished_at=clock.now(),
    )
    rows(ReplayedDelivery).create(replay=replay, delivery=delivery, runs=runs)
    return replay


def take_step(replay_id: int) -> Step | None:
    """Take the next step of a replay; ``None`` if it is not due, or somebody else has it."""
    replay = rows(Replay).filter(pk=replay_id, state=Replay.State.RUNNING).first()
    if replay is None or replay.next_step_at is None:
        return None
    if replay.next_step_at > clock.after(CLOCK_SKEW_SECONDS):
        return None
    step = Step(replay=replay, due=replay.next_step_at, held_until=replay.next_step_at)
    try:
        _change(step, sweeps=0)
    except StepLost:
        return None
    return step


def next_ones(step: Step, size: int) -> list[int]:
    """Ids of the deliveries that the replay comes to next; none at its end."""
    replay = step.replay
    found = meant(Selection.from_json(replay.selection), replay.what)
    found = found.filter(pk__gt=replay.position, pk__lte=replay.last).order_by("pk")
    return list(found.values_list("pk", flat=True)[:size])


def is_still_meant(step: Step, delivery_id: int) -> bool:
    """Whether what the replay goes by is still so: another replay may have been there before."""
    selection = Selection.from_json(step.replay.selection)
    return meant(selection, step.replay.what).filter(pk=delivery_id).exists()


@contextmanager
def coming_to(step: Step, delivery_id: int) -> Iterator[None]:
    """A transaction in which something is done with the delivery that the replay comes to.

    Raises:
        StepLost: the replay was stopped, or another worker goes on with it.
    """
    before = step.held_until, step.replay.position
    try:
        with transaction.atomic(using=alias()):
            _change(step, position=delivery_id)
            yield
    except BaseException:
        step.held_until, step.replay.position = before
        raise


def note(step: Step, delivery_id: int, *, runs: int = 0, problem: str = "") -> None:
    """What became of it; in that transaction."""
    counted = "skipped" if problem else "replayed"
    rows(Replay).filter(pk=step.replay.pk).update(**{counted: F(counted) + 1})
    if not rows(WebhookDelivery).filter(pk=delivery_id).exists():
        return
    rows(ReplayedDelivery).create(
        replay=step.replay,
        delivery_id=delivery_id,
        runs=runs,
        problem=storable_text(problem, MAX_REASON_LENGTH),
    )


def let_go(step: Step, *, next_step_at: datetime) -> None:
    """This step ended; the next one is due at a moment.

    Raises:
        StepLost: as for :func:`coming_to`.
    """
    _change(step, next_step_at=next_step_at)


def end(step: Step) -> None:
    """The replay came to its end.

    Raises:
        StepLost: as for :func:`coming_to`.
    """
    _change(step, state=Replay.State.FINISHED, next_step_at=None, finished_at=clock.now())


def stop(replay_id: int, *, actor: str) -> bool:
    """Stop a replay. What it has begun goes on. ``False``: it had ended before."""
    running = rows(Replay).filter(pk=replay_id, state=Replay.State.RUNNING)
    return bool(
        running.update(
            state=Replay.State.STOPPED,
            stopped_by=storable_text(actor, MAX_ACTOR_LENGTH),
            finished_at=clock.now(),
            next_step_at=None,
        )
    )


def ended(before: datetime, *, gone: QuerySet[WebhookDelivery] | None = None) -> QuerySet[Replay]:
    """Replays that ended before a moment, and of whose deliveries none is left.

    Args:
        before: the moment.
        gone: take these deliveries for deleted.
    """
    log = rows(ReplayedDelivery).filter(replay=OuterRef("pk"))
    if gone is not None:
        log = log.exclude(delivery__in=gone)
    over = rows(Replay).exclude(state=Replay.State.RUNNING)
    return over.filter(~Exists(log), finished_at__lt=before)


def asking_for_metadata() -> Iterator[tuple[int, dict[str, str]]]:
    """``(id, values by path)`` of replays whose selection names values of the metadata."""
    asking = rows(Replay).filter(selection__has_key="metadata").order_by("pk")
    for pk, selection in asking.values_list("pk", "selection"):
        yield pk, selection["metadata"]


def forget_selection(replay_id: int, *, actor: str) -> None:
    """Forget what a replay was asked for. One that is running is stopped: it cannot go on."""
    stop(replay_id, actor=actor)
    rows(Replay).filter(pk=replay_id).update(selection={})


def _write(
    *, selection: Selection, receivers: Sequence[str], actor: str, reason: str, **columns: Any
) -> Replay:
    return rows(Replay).create(
        receivers=list(receivers),
        selection=selection.to_json(),
        actor=storable_text(actor, MAX_ACTOR_LENGTH),
        reason=storable_text(reason, MAX_REASON_LENGTH),
        **columns,
    )


def _change(step: Step, **columns: Any) -> None:
    """Write the row if the step is still held, and hold it for longer."""
    replay = step.replay
    columns.setdefault("next_step_at", clock.after(LEASE_SECONDS))
    held = rows(Replay).filter(
        pk=replay.pk, state=Replay.State.RUNNING, next_step_at=step.held_until
    )
    with transaction.atomic(using=alias()):
        if not held.update(**columns):
            raise StepLost
    for name, value in columns.items():
        setattr(replay, name, value)
    if replay.next_step_at is not None:
        step.held_until = replay.next_step_at
