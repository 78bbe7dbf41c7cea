"""Who may start in a lane: no more runs at once than its limit allows, the others in turn.

Runs of a lane that have to wait are parked: they are not due, so no messages are spent on them.
Whoever leaves a lane lets the next ones in; the sweep does it for a worker that died before it
could.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from gemini_webhooks import clock
from gemini_webhooks.deliveries.common import SWEEP_GRACE_SECONDS, WAITING, alias, rows
from gemini_webhooks.models import Lane, ReceiverRun

#: A new ``used_at`` is written this often at most.
TOUCH_SECONDS = 3600
#: Let in where a lane has lost its row, and with it its limit.
MOST_AT_ONCE = 100


def open_lanes(limits: dict[str, int]) -> None:
    """Make sure that each lane is there with its limit. Call it outside of a transaction.

    Args:
        limits: how many runs at once, by name.
    """
    known = {lane.name: lane for lane in rows(Lane).filter(pk__in=limits)}
    now, stale = clock.now(), clock.after(-TOUCH_SECONDS)
    for name, limit in limits.items():
        lane = known.get(name)
        if lane is None:
            new = Lane(name=name, limit=limit, used_at=now)
            rows(Lane).bulk_create([new], ignore_conflicts=True)
        elif lane.limit != limit or lane.used_at is None or lane.used_at < stale:
            rows(Lane).filter(pk=name).update(limit=limit, used_at=now)


def park(runs: QuerySet[ReceiverRun]) -> None:
    """Let those of ``runs`` that are in a lane wait for a place there, behind all others."""
    runs.exclude(lane="").update(parked_at=clock.now(), next_attempt_at=None)


def park_in_order(runs: QuerySet[ReceiverRun], **changes: object) -> int:
    """Let those of ``runs`` that are in a lane wait there in the order of their coming.

    Args:
        runs: that have waited for something else meanwhile.
        changes: what else becomes of them.

    Returns:
        How many they are.
    """
    in_lanes = runs.exclude(lane="")
    return in_lanes.update(parked_at=F("created_at"), next_attempt_at=None, **changes)


def admit(lane: str) -> list[int]:
    """Let parked runs of ``lane`` start, in the order of their coming, as far as there is room.

    Returns:
        The ids of the runs that are due now.
    """
    with transaction.atomic(using=alias()):
        limit = _hold(lane)
        taken = _unparked(lane).filter(_starting() | _executed()).count()
        free = MOST_AT_ONCE if limit is None else limit - taken
        if free <= 0:
            return []
        parked = _parked(lane)
        ids = list(parked.order_by("parked_at", "pk").values_list("pk", flat=True)[:free])
        # What a replay has taken out meanwhile stays out.
        parked.filter(pk__in=ids).update(parked_at=None, next_attempt_at=clock.now(), sweeps=0)
    return ids


def is_full(lane: str) -> bool:
    """Whether as many runs of ``lane`` are executed as may be; nobody starts another meanwhile.

    That holds until the transaction ends. Call it first in one: what a database shows in a
    transaction may be as old as its first look.
    """
    limit = _hold(lane)
    return limit is not None and _unparked(lane).filter(_executed()).count() >= limit


def with_room(limit: int) -> list[str]:
    """Names of lanes in which runs are parked although there is room; at most ``limit``."""
    own = rows(ReceiverRun).filter(lane=OuterRef("name"))
    parked = own.filter(_waits())
    taken = own.filter(_starting() | _executed(), parked_at=None).order_by().values("lane")
    lanes = rows(Lane).alias(taken=Coalesce(Subquery(taken.annotate(n=Count("pk")).values("n")), 0))
    found = lanes.filter(Exists(parked), taken__lt=F("limit"))
    return list(found.values_list("name", flat=True)[:limit])


def lanes_of(runs: Iterable[ReceiverRun]) -> list[str]:
    """Names of the lanes in which some of ``runs`` are parked."""
    return sorted({run.lane for run in runs if run.parked_at is not None})


def _hold(lane: str) -> int | None:
    """Lock the row of ``lane`` until the transaction ends; returns its limit, if it has one.

    A statement that writes: so it is an exclusive lock on every database.
    """
    row = rows(Lane).filter(pk=lane)
    row.update(limit=F("limit"))
    return row.values_list("limit", flat=True).first()


def _parked(lane: str) -> QuerySet[ReceiverRun]:
    return rows(ReceiverRun).filter(_waits(), lane=lane)


def _unparked(lane: str) -> QuerySet[ReceiverRun]:
    return rows(ReceiverRun).filter(lane=lane, parked_at=None)


def _waits() -> Q:
    # Workers of the version before end runs without a thought of lanes.
    return Q(parked_at__isnull=False, state__in=WAITING)


def _executed() -> Q:
    return Q(state=ReceiverRun.State.RUNNING, lease_until__gte=clock.now())


def _starting() -> Q:
    """Due, and on its way to a worker; but for a while only: there may be none for its queue."""
    return Q(
        state__in=WAITING,
        sweeps=0,
        next_attempt_at__lte=clock.now(),
        next_attempt_at__gt=clock.after(-SWEEP_GRACE_SECONDS),
    )
