"""Who may execute a run, and how his attempt ended."""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from gemini_webhooks import clock
from gemini_webhooks.deliveries import lanes, pauses
from gemini_webhooks.deliveries.audit import class_name, last_number, log, summary
from gemini_webhooks.deliveries.common import (
    LEASE_SECONDS,
    NOT_HELD,
    WAITING,
    LeaseLost,
    alias,
    rows,
)
from gemini_webhooks.deliveries.progress import fail
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import Attempt, ReceiverRun

#: The clocks of two workers differ; a message may come so much before the run is due.
CLOCK_SKEW_SECONDS = 1
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
    now = clock.now()
    runs = rows(ReceiverRun)
    due = Q(state__in=WAITING, next_attempt_at__lte=clock.after(CLOCK_SKEW_SECONDS))
    abandoned = Q(state=ReceiverRun.State.RUNNING, lease_until__lt=now)
    found = runs.filter(due | abandoned, pk=run_id).annotate(
        pause_id=pauses.covering(), last_number=last_number()
    )
    run = found.select_related("delivery", "result").first()
    if run is None:
        return None
    was_abandoned = run.state == ReceiverRun.State.RUNNING
    token, number = uuid.uuid4().hex, (run.last_number or 0) + 1
    changes = {
        "state": ReceiverRun.State.RUNNING,
        "claim": token,
        "claimed_at": now,
        "attempts": run.attempts + 1,
        "trigger": Attempt.Trigger.RETRY if was_abandoned else run.trigger,
        "lease_until": clock.after(LEASE_SECONDS),
        "next_attempt_at": None,
        "parked_at": None,
        "sweeps": 0,
        **NOT_HELD,
    }
    # A transaction only where it takes more than one statement.
    with transaction.atomic(using=alias()) if run.lane or was_abandoned else nullcontext():
        waits: dict[str, object] = {}
        if run.pause_id is not None:
            waits = _paused(run, run.pause_id)
        elif run.lane and lanes.is_full(run.lane):
            waits = _parked(run)
        mine = runs.filter(due | abandoned, pk=run_id, claim=run.claim)
        if not mine.update(**(waits or changes)):
            return None
        if was_abandoned:
            log(run, number, Attempt.Outcome.LOST)
            number += 1
    if run.pause_id is not None:
        raise RunHeld(run.lane)
    if waits:
        return None
    for name, value in changes.items():
        setattr(run, name, value)
    return Claim(run=run, token=token, number=number)


def renew(held: Claim) -> bool:
    """Extend the lease; ``False`` if it was lost."""
    return bool(_held(held).update(lease_until=clock.after(LEASE_SECONDS)))


def succeed(held: Claim) -> None:
    """Mark the run done. Call it in the receiver's transaction: both commit, or none.

    Raises:
        LeaseLost: the run belongs to somebody else by now.
    """
    _finish(held, ReceiverRun.State.SUCCEEDED, Attempt.Outcome.SUCCEEDED, is_inside=True)


def skip(held: Claim) -> None:
    """The run is done without having been executed: its event is no longer the newest.

    Raises:
        LeaseLost: as :func:`succeed` does.
    """
    _finish(held, ReceiverRun.State.SUCCEEDED, Attempt.Outcome.SKIPPED, is_inside=True)


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


def _held(held: Claim) -> QuerySet[ReceiverRun]:
    return rows(ReceiverRun).filter(
        pk=held.run.pk, state=ReceiverRun.State.RUNNING, claim=held.token
    )


def _finish(
    held: Claim,
    state: str,
    outcome: str,
    *,
    error: BaseException | None = None,
    is_inside: bool = False,
    **changes: object,
) -> None:
    if error is not None:
        changes |= {"last_error": summary(error), "error_class": class_name(error)}
    if is_inside:
        changes |= _NO_ERROR
    if state in (ReceiverRun.State.SUCCEEDED, ReceiverRun.State.DEAD):
        changes |= {"finished_at": clock.now(), "lane": ""}
    # Within the receiver's transaction no savepoint: if the lease is lost, all of it is undone.
    with transaction.atomic(using=alias(), savepoint=not is_inside):
        if not _held(held).update(state=state, lease_until=None, **changes):
            raise LeaseLost
        log(held.run, held.number, outcome, error=error)
