"""What waits to be done: for the sweeper, and for a drain."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_

from django.db import connections
from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.functions import Least

from gemini_webhooks import clock
from gemini_webhooks.deliveries.common import (
    SWEEP_GRACE_SECONDS,
    WAITING,
    ModelType,
    alias,
    rows,
)
from gemini_webhooks.models import ReceiverRun, Replay, ResultFile, WebhookDelivery

#: The grace is doubled so often at most, for what the sweeper hands on again and again.
LONGEST_GRACE = 4


def to_dispatch(limit: int, *, overdue_only: bool = True) -> list[int]:
    """Ids of deliveries that were stored but not taken into processing, oldest first.

    Args:
        limit: how many at most.
        overdue_only: leave out those whose hand-off may still be under way.
    """
    received = untaken(_unlocked(WebhookDelivery))
    if overdue_only:
        received = received.filter(sweep_at__lte=clock.now())
    return list(received.order_by("sweep_at").values_list("pk", flat=True)[:limit])


def untaken(found: QuerySet[WebhookDelivery]) -> QuerySet[WebhookDelivery]:
    """Those of ``found`` that wait to be taken into processing.

    Recordings do not until somebody asks for their receivers: no time is set for their sweep.
    """
    received = found.filter(state=WebhookDelivery.State.RECEIVED)
    return received.exclude(source=WebhookDelivery.Source.RECORDING, sweep_at=None)


def replays_due(limit: int, *, overdue_only: bool = False) -> list[int]:
    """Ids of replays whose next step is due, among them those whose worker is gone."""
    due = _overdue("next_step_at") if overdue_only else Q(next_step_at__lte=clock.now())
    running = _unlocked(Replay).filter(due, state=Replay.State.RUNNING)
    return list(running.order_by("next_step_at").values_list("pk", flat=True)[:limit])


def handed_off(
    *,
    delivery_ids: Iterable[int],
    run_ids: Iterable[int],
    result_ids: Iterable[int],
    replay_ids: Iterable[int],
) -> None:
    """The sweeper handed these off: leave them alone for a while, and let others go first.

    For a longer while each time: what waits for its turn only needs no further messages.
    """
    now = clock.now()
    received = rows(WebhookDelivery).filter(state=WebhookDelivery.State.RECEIVED)
    received.filter(pk__in=list(delivery_ids)).update(sweep_at=_next_sweep())
    # Due since now, so overdue again after the next grace.
    for model, ids in ((ReceiverRun, run_ids), (ResultFile, result_ids)):
        waiting = rows(model).filter(state__in=WAITING, next_attempt_at__lte=now)
        waiting.filter(pk__in=list(ids)).update(next_attempt_at=now, sweeps=_once_more())
    running = rows(Replay).filter(state=Replay.State.RUNNING, next_step_at__lte=now)
    running.filter(pk__in=list(replay_ids)).update(next_step_at=now, sweeps=_once_more())


def runs_due(limit: int, *, overdue_only: bool = False) -> list[tuple[int, str]]:
    """``(id, queue)`` of runs to execute now, among them those whose worker is gone.

    Args:
        limit: how many at most.
        overdue_only: leave out those whose hand-off may still be under way.
    """
    due = _overdue() if overdue_only else Q(next_attempt_at__lte=clock.now())
    abandoned = Q(state=ReceiverRun.State.RUNNING, lease_until__lt=clock.now())
    runs = _unlocked(ReceiverRun)
    found: list[tuple[int, str]] = []
    # Two queries, as one with OR would use neither index.
    for condition, order in (
        (abandoned, "lease_until"),
        (Q(state__in=WAITING) & due, "next_attempt_at"),
    ):
        left = limit - len(found)
        found += runs.filter(condition).order_by(order).values_list("pk", "queue")[:left]
    return found


def results_due(limit: int, *, overdue_only: bool = False) -> list[int]:
    """Ids of result files to fetch now, among them those whose worker is gone."""
    waiting = Q(state__in=(ResultFile.State.PENDING, ResultFile.State.RETRYING))
    due = _overdue() if overdue_only else Q(next_attempt_at__lte=clock.now())
    abandoned = Q(state=ResultFile.State.FETCHING, lease_until__lt=clock.now())
    results = _unlocked(ResultFile)
    found: list[int] = []
    for condition, order in ((abandoned, "lease_until"), (waiting & due, "next_attempt_at")):
        left = limit - len(found)
        found += results.filter(condition).order_by(order).values_list("pk", flat=True)[:left]
    return found


def _once_more() -> Least:
    return Least(F("sweeps") + 1, Value(LONGEST_GRACE))


def _overdue(column: str = "next_attempt_at") -> Q:
    """Due for so long that the hand-off may be lost: twice as long after each that was repeated."""
    until = f"{column}__lte"
    at_all = Q(**{until: clock.after(-SWEEP_GRACE_SECONDS)})
    each = (
        Q(**{until: clock.after(-SWEEP_GRACE_SECONDS * 2**sweeps)}, sweeps=sweeps)
        for sweeps in range(LONGEST_GRACE + 1)
    )
    return at_all & reduce(or_, each)


def _next_sweep() -> Case:
    """When a delivery is overdue again: the later, the longer it has been waiting."""
    return Case(
        *(
            When(
                received_at__lt=clock.after(-age * SWEEP_GRACE_SECONDS),
                then=Value(clock.after(grace * SWEEP_GRACE_SECONDS)),
            )
            for age, grace in ((30, 15), (5, 5))
        ),
        default=Value(clock.after(SWEEP_GRACE_SECONDS)),
    )


def _unlocked(model: type[ModelType]) -> QuerySet[ModelType]:
    """Rows that nobody else is at, locked until the current transaction ends, if there is one.

    So two sweeps at the same time share the work, where the database can pass over locks.
    """
    connection = connections[alias()]
    if connection.in_atomic_block and connection.features.has_select_for_update_skip_locked:
        return rows(model).select_for_update(skip_locked=True)
    return rows(model)
