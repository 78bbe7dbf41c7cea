"""Deliveries on their way from processing to processed or failed."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When

from gemini_webhooks import clock
from gemini_webhooks.deliveries import lanes
from gemini_webhooks.deliveries.common import UNFINISHED, alias, done_at, done_now, rows
from gemini_webhooks.deliveries.statements import Slot, Update, field_of, slots
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery
from gemini_webhooks.storable import storable_text

MAX_REASON_LENGTH = 2000
#: Settled at once at most; every SQLite takes so many ids in a statement.
MOST_SETTLED = 900
#: The error class of runs that waited for a result file in vain.
NO_RESULT = "gemini_webhooks.exceptions.ResultError"


def settle(delivery_id: int) -> int:
    """Mark the delivery processed, or failed, once none of its runs is unfinished.

    It never goes back to ``processing``: of two calls at the same time, one with an older view
    changes nothing.

    Returns:
        1 if this call did it, otherwise 0.
    """
    return _settle_one(id=delivery_id, now=clock.now())


def settle_all() -> int:
    """Settle what a worker left behind that died between its last run and :func:`settle`.

    What is to be settled is found without a lock: a pause may keep very many unfinished.
    """
    ids = list(_done().values_list("pk", flat=True)[:MOST_SETTLED])
    if not ids:
        return 0
    return _done().filter(pk__in=ids).update(**_final(), **done_now())


def release(result_id: int) -> list[int]:
    """The result file is complete: let the runs that wait for it start, or wait in their lane.

    Returns:
        Their ids.
    """
    waiting = _waiting_for(Q(result_id=result_id))
    ids = list(waiting.values_list("pk", flat=True))
    lanes.park(waiting)
    waiting.filter(lane="").update(next_attempt_at=clock.now())
    return ids


def unreleased(limit: int) -> list[ResultFile]:
    """Result files that ended while runs still wait for them: the worker died in between."""
    ended = rows(ResultFile).filter(state__in=(ResultFile.State.COMPLETE, ResultFile.State.FAILED))
    waited_for = Exists(_waiting_for(Q(result=OuterRef("pk"))))
    return list(ended.filter(waited_for).order_by("pk")[:limit])


def bury_waiting(result_id: int, reason: str) -> list[ReceiverRun]:
    """The result file will never come: the runs that wait for it are dead. Returns them."""
    with transaction.atomic(using=alias()):
        failed = Q(result_id=result_id, result__state=ResultFile.State.FAILED)
        runs = list(_waiting_for(failed).select_related("delivery"))
        rows(ReceiverRun).filter(pk__in=[run.pk for run in runs]).update(
            state=ReceiverRun.State.DEAD,
            lane="",
            last_error=storable_text(f"result file: {reason}", MAX_REASON_LENGTH),
            error_class=NO_RESULT,
            finished_at=clock.now(),
        )
        if runs:
            fail(runs[0].delivery_id)
    return runs


def fail(delivery_id: int) -> None:
    """One of its runs is dead."""
    failed = WebhookDelivery.State.FAILED
    rows(WebhookDelivery).filter(pk=delivery_id).update(state=failed, **done_now())


def _done() -> QuerySet[WebhookDelivery]:
    """Deliveries that are processing, and of which no run is unfinished."""
    unfinished = rows(ReceiverRun).filter(delivery=OuterRef("pk"), state__in=UNFINISHED)
    processing = rows(WebhookDelivery).filter(state=WebhookDelivery.State.PROCESSING)
    return processing.filter(~Exists(unfinished)).order_by()


def _final() -> dict[str, object]:
    """What an UPDATE of such a delivery writes as its state."""
    dead = rows(ReceiverRun).filter(delivery=OuterRef("pk"), state=ReceiverRun.State.DEAD)
    return {
        "state": Case(
            When(Exists(dead), then=Value(WebhookDelivery.State.FAILED)),
            default=Value(WebhookDelivery.State.PROCESSED),
        )
    }


_settle_one = Update(
    lambda: (
        _done().filter(pk=slots(WebhookDelivery, "id")["id"]),
        {**_final(), **done_at(Slot("now", field_of(WebhookDelivery, "settled_at")))},
    )
)


def _waiting_for(which: Q) -> QuerySet[ReceiverRun]:
    return rows(ReceiverRun).filter(
        which,
        state=ReceiverRun.State.PENDING,
        next_attempt_at=None,
        parked_at=None,
        held_at=None,
        result__isnull=False,
    )
