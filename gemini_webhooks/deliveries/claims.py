"""Who may execute a run, and how his attempt ended."""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from gemini_webhooks import clock
from gemini_webhooks.deliveries import lanes, pauses
from gemini_webhooks.deliveries.audit import class_name, last_number, log, summary
from gemini_webhooks.deliveries.common import (
    LEASE_SECONDS,
    NOT_HELD,
    SWEEP_GRACE_SECONDS,
    WAITING,
    LeaseLost,
    alias,
    rows,
)
from gemini_webhooks.deliveries.progress import fail
from gemini_webhooks.deliveries.statements import Select, Slot, Update, field_of, slots
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import Attempt, ReceiverRun

#: The clocks of two workers differ; a message may come so much before the run is due.
CLOCK_SKEW_SECONDS = 1
#: For so long nobody but who has planned a run can have had it: sweeps leave it alone.
NEW = timedelta(seconds=SWEEP_GRACE_SECONDS / 2)
#: The error class of runs that no worker survived.
WORKER_LOST = "worker lost"
_NO_ERROR: dict[str, Any] = {"last_error": "", "error_class": ""}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run that this process may execute until the lease ends."""

    run: ReceiverRun
    token: str
    #: Number of the attempt's row, should it end in one.
    number: int


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A run that may be taken.

    Attributes:
        run: as it is now.
        pause_id: of a pause that covers it, if there is one.
        number: of the next attempt's row.
    """

    run: ReceiverRun
    pause_id: int | None
    number: int


class RunHeld(GeminiWebhooksError):
    """The run is not to be executed for now: a pause holds it.

    Args:
        lane: the lane that it has left, where there may be room for another one; empty if none.
    """

    def __init__(self, lane: str) -> None:
        super().__init__("a pause holds it")
        self.lane = lane


def claim(run_id: int) -> Claim | None:
    """Take a run that is due, or whose worker is gone; ``None`` if somebody else has it.

    If its lane is full it is parked there instead. An attempt that was cut short by the death of
    its worker is written down as lost.

    Raises:
        RunHeld: its receiver or endpoint is paused; it is held from now on.
    """
    found = _found(run_id)
    if found is None:
        return None
    run, pause_id, number = found.run, found.pause_id, found.number
    was_abandoned = run.state == ReceiverRun.State.RUNNING
    # A transaction only where it takes more than one statement.
    with transaction.atomic(using=alias()) if run.lane or was_abandoned else nullcontext():
        waits: dict[str, object] = {}
        if pause_id is not None:
            waits = _paused(run, pause_id)
        elif run.lane and lanes.is_full(run.lane):
            waits = _parked(run)
        if waits and not _unclaimed(run).update(**waits):
            return None
        changes = {} if waits else _take(run)
        if was_abandoned and (waits or changes):
            log(run, number, Attempt.Outcome.LOST)
            number += 1
    if pause_id is not None:
        raise RunHeld(run.lane)
    return _claimed(run, changes, number) if changes else None


def claim_new(run: ReceiverRun) -> Claim | None:
    """Take a run that this process has planned just now, with the delivery that it has.

    ``None``: it is not to be had like this; :func:`claim` finds out why.
    """
    # Somebody else may have run it long ago, and a replay has made it as new since.
    is_new = clock.now() - run.created_at < NEW
    changes = _take(run) if is_new and not run.lane else {}
    return _claimed(run, changes, 1) if changes else None


def renew(held: Claim) -> bool:
    """Extend the lease; ``False`` if it was lost."""
    return bool(_held(held).update(lease_until=clock.after(LEASE_SECONDS)))


def succeed(held: Claim) -> None:
    """Mark the run done. Call it in the receiver's transaction: both commit, or none.

    Raises:
        LeaseLost: the run belongs to somebody else by now.
    """
    _end(held, Attempt.Outcome.SUCCEEDED)


def skip(held: Claim) -> None:
    """The run is done without having been executed: its event is no longer the newest.

    Raises:
        LeaseLost: as :func:`succeed` does.
    """
    _end(held, Attempt.Outcome.SKIPPED)


def postpone(held: Claim, seconds: float) -> None:
    """The receiver asked to be run later; this does not count as an attempt."""
    _finish(
        held,
        ReceiverRun.State.RETRYING,
        Attempt.Outcome.POSTPONED,
        attempts=held.run.attempts - 1,
        next_attempt_at=clock.after(seconds),
        trigger=Attempt.Trigger.RETRY,
    )


def retry(held: Claim, error: BaseException, seconds: float) -> None:
    """The attempt failed and there will be another one ``seconds`` from now."""
    _finish(
        held,
        ReceiverRun.State.RETRYING,
        Attempt.Outcome.FAILED,
        error=error,
        next_attempt_at=clock.after(seconds),
        trigger=Attempt.Trigger.RETRY,
    )


def bury(held: Claim, error: BaseException, *, gave_up: bool = False) -> None:
    """The attempt failed and there will be no other: the run is dead, the delivery failed."""
    outcome = Attempt.Outcome.GAVE_UP if gave_up else Attempt.Outcome.FAILED
    with transaction.atomic(using=alias()):
        _finish(held, ReceiverRun.State.DEAD, outcome, error=error)
        fail(held.run.delivery_id)


def bury_lost(held: Claim) -> bool:
    """The run has killed its workers as often as it may be tried. ``False`` if it was taken."""
    message = f"no worker survived it in {held.run.attempts - 1} attempts"
    with transaction.atomic(using=alias()):
        buried = _held(held).update(
            state=ReceiverRun.State.DEAD,
            attempts=F("attempts") - 1,
            last_error=message,
            error_class=WORKER_LOST,
            lane="",
            lease_until=None,
            finished_at=clock.now(),
        )
        if buried:
            fail(held.run.delivery_id)
    return bool(buried)


def _found(run_id: int) -> _Found | None:
    rows_found: list[Any] = _find(id=run_id, now=clock.now(), soon=_soon())
    if not rows_found:
        return None
    [run] = rows_found
    return _Found(run=run, pause_id=run.pause_id, number=(run.last_number or 0) + 1)


def _take(run: ReceiverRun) -> dict[str, Any]:
    """Claim ``run``, if it is as it was, and not paused. Returns what has changed, or nothing."""
    now = clock.now()
    was_abandoned = run.state == ReceiverRun.State.RUNNING
    changes: dict[str, Any] = {
        "claim": uuid.uuid4().hex,
        "claimed_at": now,
        "attempts": run.attempts + 1,
        "trigger": Attempt.Trigger.RETRY if was_abandoned else run.trigger,
        "lease_until": clock.after(LEASE_SECONDS),
    }
    state = {"id": run.pk, "before": run.claim, "now": now, "soon": _soon()}
    return changes if _claim(**state, **changes, **pauses.covered(run)) else {}


def _claimed(run: ReceiverRun, changes: dict[str, Any], number: int) -> Claim:
    for name, value in {**_CLAIMED, **changes}.items():
        setattr(run, name, value)
    return Claim(run=run, token=run.claim, number=number)


def _parked(run: ReceiverRun) -> dict[str, object]:
    """What changes of a run that has to wait in its lane.

    It has waited before: those that came after it stay behind it.
    """
    return {"parked_at": run.created_at, "next_attempt_at": None, **_given_back(run)}


def _paused(run: ReceiverRun, pause_id: int) -> dict[str, object]:
    """What changes of a run that a pause holds: it takes no place in its lane."""
    held = {"held_at": clock.now(), "held_by": pause_id, "parked_at": None, "sweeps": 0}
    return {**held, "next_attempt_at": None, **_given_back(run)}


def _given_back(run: ReceiverRun) -> dict[str, object]:
    """What changes of a run besides that was abandoned, and is not to be executed yet."""
    if run.state != ReceiverRun.State.RUNNING:
        return {}
    retry = {"state": ReceiverRun.State.RETRYING, "trigger": Attempt.Trigger.RETRY}
    return {**retry, "claim": "", "lease_until": None}


def _unclaimed(run: ReceiverRun) -> QuerySet[ReceiverRun]:
    """``run``, as long as it is as it was, and may be claimed."""
    may_be = _may_be_claimed(soon=_soon(), now=clock.now())
    return rows(ReceiverRun).filter(may_be, pk=run.pk, claim=run.claim)


def _soon() -> datetime:
    return clock.after(CLOCK_SKEW_SECONDS)


def _may_be_claimed(*, soon: object, now: object) -> Q:
    due = Q(state__in=WAITING, next_attempt_at__lte=soon)
    return due | Q(state=ReceiverRun.State.RUNNING, lease_until__lt=now)


def _slot(name: str, field: str) -> Slot:
    return Slot(name, field_of(ReceiverRun, field))


def _claimable() -> QuerySet[ReceiverRun]:
    """The run ``id`` if it may be claimed, with slots."""
    may_be = _may_be_claimed(soon=_slot("soon", "next_attempt_at"), now=_slot("now", "lease_until"))
    return rows(ReceiverRun).filter(may_be, pk=_slot("id", "id"))


#: What is the same of all runs that are claimed.
_CLAIMED: dict[str, Any] = {
    "state": ReceiverRun.State.RUNNING,
    "next_attempt_at": None,
    "parked_at": None,
    "sweeps": 0,
    **NOT_HELD,
}
_find = Select(
    # With all that the receiver gets: for what is read later, a router may ask a replica.
    lambda: (
        _claimable()
        .select_related("delivery", "result")
        .annotate(pause_id=pauses.covering(), last_number=last_number())
    )
)
_claim = Update(
    lambda: (
        _claimable().filter(pauses.covers_none(), claim=_slot("before", "claim")),
        {
            **_CLAIMED,
            **slots(ReceiverRun, "claim", "claimed_at", "attempts", "trigger", "lease_until"),
        },
    )
)
_mark_done = Update(
    lambda: (
        rows(ReceiverRun).filter(
            pk=_slot("id", "id"), state=ReceiverRun.State.RUNNING, claim=_slot("token", "claim")
        ),
        {
            "state": ReceiverRun.State.SUCCEEDED,
            "lane": "",
            "lease_until": None,
            **_NO_ERROR,
            **slots(ReceiverRun, "finished_at"),
        },
    )
)


def _held(held: Claim) -> QuerySet[ReceiverRun]:
    return rows(ReceiverRun).filter(
        pk=held.run.pk, state=ReceiverRun.State.RUNNING, claim=held.token
    )


def _end(held: Claim, outcome: str) -> None:
    # Within the receiver's transaction no savepoint: if the lease is lost, all of it is undone.
    with transaction.atomic(using=alias(), savepoint=False):
        if not _mark_done(id=held.run.pk, token=held.token, finished_at=clock.now()):
            raise LeaseLost
        log(held.run, held.number, outcome)


def _finish(
    held: Claim,
    state: str,
    outcome: str,
    *,
    error: BaseException | None = None,
    **changes: object,
) -> None:
    if error is not None:
        changes |= {"last_error": summary(error), "error_class": class_name(error)}
    if state == ReceiverRun.State.DEAD:
        changes |= {"finished_at": clock.now(), "lane": ""}
    with transaction.atomic(using=alias()):
        if not _held(held).update(state=state, lease_until=None, **changes):
            raise LeaseLost
        log(held.run, held.number, outcome, error=error)
