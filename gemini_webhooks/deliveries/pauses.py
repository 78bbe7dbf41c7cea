"""Pauses, and what becomes of the runs that they hold. The only writer of the first.

A pause takes hold of nothing by itself. Who claims a run that is due, and that an active pause
covers, has it held instead; see :mod:`claims`. Once the pause is lifted, sweeps let go what it
holds, the oldest first. What it holds is found by its id alone, so a run is held by one pause,
and by the next one when it is claimed again.

Workers of the version before know nothing of pauses: they execute what is due. They pass over what
is held, as it is not due, except for runs of result files that are complete: those they make due.
Whatever they end while it is held is forgotten when its turn comes to be let go.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import (
    BigIntegerField,
    Exists,
    ExpressionWrapper,
    F,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)

from gemini_webhooks import clock
from gemini_webhooks.deliveries import lanes
from gemini_webhooks.deliveries.common import NOT_HELD, WAITING, alias, rows
from gemini_webhooks.deliveries.statements import Slot, field_of
from gemini_webhooks.models import Pause, ReceiverRun
from gemini_webhooks.storable import storable_text

#: At a rate, runs are made due so far ahead, each at its time: twice as long as between sweeps.
LOOK_AHEAD_SECONDS = 60
#: So many runs are let go in one transaction.
BATCH = 500

MAX_ACTOR_LENGTH, MAX_REASON_LENGTH = 255, 500


@dataclass(frozen=True, kw_only=True)
class LetGo:
    """Runs that are held no longer.

    Attributes:
        ids: of the runs.
        delay: in how many seconds they are due; those in lanes wait there if it is 0.
    """

    ids: Sequence[int]
    delay: float = 0


def begin(
    *, kind: str, receiver: str = "", endpoint_id: int | None = None, actor: str, reason: str = ""
) -> Pause | None:
    """Pause something; one INSERT decides who does. ``None``: it is paused already.

    A pause that is still letting go becomes active again, with what it holds yet.
    """
    fields = {
        "paused_by": storable_text(actor, MAX_ACTOR_LENGTH),
        "paused_at": clock.now(),
        "reason": storable_text(reason, MAX_REASON_LENGTH),
    }
    occupies = ":".join(filter(None, (kind, receiver or str(endpoint_id or ""))))
    letting_go = rows(Pause).filter(occupies=occupies, resumed_at__isnull=False)
    anew = {"resumed_at": None, "resumed_by": "", "rate": None, "released_until": None}
    if letting_go.update(released=0, **anew, **fields):
        return rows(Pause).get(occupies=occupies)
    pause = Pause(
        kind=kind, receiver=receiver, endpoint_id=endpoint_id, occupies=occupies, **fields
    )
    try:
        with transaction.atomic(using=alias()):
            pause.save(using=alias(), force_insert=True)
    except IntegrityError:
        return None
    return pause


def lift(pause_id: int, *, rate: int | None, actor: str) -> bool:
    """Let go from now on what a pause holds; for one that does so already, at another rate.

    Args:
        pause_id: the pause.
        rate: runs per minute; ``None`` for no limit.
        actor: who asked for it.

    Returns:
        ``False`` if it has ended.
    """
    lifted = {"resumed_at": clock.now(), "rate": rate}
    by = storable_text(actor, MAX_ACTOR_LENGTH)
    return bool(lasting().filter(pk=pause_id).update(resumed_by=by, **lifted))


def lasting() -> QuerySet[Pause]:
    """Pauses that are active, or still letting go."""
    return rows(Pause).filter(occupies__isnull=False)


def covering() -> Subquery:
    """For an annotation of runs: the id of an active pause that covers the run, or ``NULL``."""
    own = rows(Pause).alias(
        at=ExpressionWrapper(OuterRef("delivery__endpoint"), output_field=BigIntegerField())
    )
    covers = (
        Q(kind=Pause.Kind.RECEIVER, receiver=OuterRef("receiver"))
        | Q(kind=Pause.Kind.ENDPOINT, endpoint=F("at"))
        | Q(kind=Pause.Kind.ROOT, at=None)
    )
    active = own.filter(covers, resumed_at=None).order_by("pk")
    return Subquery(active.values("pk")[:1])


def covers_none() -> Q:
    """For a statement with the slots of :func:`covered`: no active pause covers the run."""
    active = rows(Pause).filter(
        Q(kind=Pause.Kind.RECEIVER, receiver=Slot("paused_receiver", field_of(Pause, "receiver")))
        | Q(kind=Pause.Kind.ENDPOINT, endpoint=Slot("paused_endpoint", field_of(Pause, "id")))
        | Q(kind=Slot("paused_root", field_of(Pause, "kind"))),
        resumed_at=None,
    )
    return ~Q(Exists(active))


def covered(run: ReceiverRun) -> dict[str, object]:
    """What may be paused of ``run``."""
    endpoint = run.delivery.endpoint_id
    return {
        "paused_receiver": run.receiver,
        "paused_endpoint": endpoint,
        "paused_root": Pause.Kind.ROOT if endpoint is None else "",
    }


def held(pause_id: int) -> int:
    """How many runs a pause holds."""
    return rows(ReceiverRun).filter(held_by=pause_id).count()


def let_go(limit: int) -> list[LetGo]:
    """Let go runs whose pause is lifted, or gone; lifted pauses that hold none any more end.

    Args:
        limit: how many of each pause, at most.
    """
    pauses = {pause.pk: pause for pause in lasting()}
    found: list[LetGo] = []
    for holder in _holders():
        # One that began after the look above is not one that is gone.
        pause = pauses.get(holder) or lasting().filter(pk=holder).first()
        if pause is None or pause.resumed_at is not None:
            found += _let_go(holder, pause, limit)
    for pause in pauses.values():
        if pause.resumed_at is not None:
            _end(pause)
    return found


def receivers_that_ran(limit: int) -> list[str]:
    """Names of receivers that have runs, in their order; ``limit`` at most."""
    names: list[str] = []
    last: str | None = ""
    while last is not None and len(names) < limit:
        runs = rows(ReceiverRun).filter(receiver__gt=last)
        last = runs.aggregate(next=Min("receiver"))["next"]
        names += [last] if last is not None else []
    return names


def _holders() -> Iterator[int]:
    """Ids of pauses that hold runs, those that are gone included. Reads one row for each."""
    last: int | None = 0
    while last is not None:
        runs = rows(ReceiverRun).filter(held_by__gt=last)
        last = runs.aggregate(next=Min("held_by"))["next"]
        if last is not None:
            yield last


def _let_go(holder: int, pause: Pause | None, limit: int) -> list[LetGo]:
    """Let go what ``holder`` holds; ``pause`` is its row, if it is there yet."""
    if pause is not None and pause.rate is not None:
        return _at_a_rate(pause, pause.rate, limit)
    found: list[LetGo] = []
    left = limit
    while left > 0 and (ids := _batch(holder, pause, min(left, BATCH))):
        found.append(LetGo(ids=ids))
        left -= len(ids)
    return found


def _batch(holder: int, pause: Pause | None, limit: int) -> list[int]:
    with transaction.atomic(using=alias()):
        if pause is not None and not _hold(pause):
            return []
        ids = _oldest(holder, limit)
        if ids:
            _count(holder, _free(holder, ids, clock.now(), park=True))
    return ids


def _at_a_rate(pause: Pause, rate: int, limit: int) -> list[LetGo]:
    """Each in its turn: one interval after the one before it, whichever sweep let that go."""
    interval = 60 / rate
    due: dict[float, list[int]] = {}
    with transaction.atomic(using=alias()):
        if not _hold(pause):
            return []
        now = clock.now()
        until = rows(Pause).values_list("released_until", flat=True).get(pk=pause.pk)
        start = (max(until, now) - now).total_seconds() if until else 0.0
        turns = math.ceil((LOOK_AHEAD_SECONDS - start) / interval)
        ids = _oldest(pause.pk, max(0, min(turns, limit, BATCH)))
        for turn, pk in enumerate(ids):
            delay = start + turn * interval
            # Those of the same second together: a minute's statements are enough.
            due.setdefault(delay if interval >= 1 else math.floor(delay), []).append(pk)
        count = 0
        for delay, own in due.items():
            count += _free(pause.pk, own, now + timedelta(seconds=delay), park=False)
        if ids:
            _count(pause.pk, count, until=now + timedelta(seconds=start + len(ids) * interval))
    return [LetGo(ids=own, delay=delay) for delay, own in due.items()]


def _hold(pause: Pause) -> bool:
    """Lock its row until the transaction ends; ``False`` if somebody has changed it meanwhile.

    So two sweeps let go one after the other. A statement that writes, before any that reads: what
    is read after it is no older.
    """
    same = lasting().filter(pk=pause.pk, resumed_at=pause.resumed_at, rate=pause.rate)
    return bool(same.update(released=F("released")))


def _oldest(holder: int, limit: int) -> list[int]:
    runs = rows(ReceiverRun).filter(held_by=holder).order_by("held_at", "pk")
    return list(runs.values_list("pk", flat=True)[:limit])


def _free(holder: int, ids: list[int], due: datetime, *, park: bool) -> int:
    """Make runs due, or park them in their lanes. Returns how many are to be executed yet."""
    own = rows(ReceiverRun).filter(pk__in=ids, held_by=holder)
    waiting = own.filter(state__in=WAITING)
    count = lanes.park_in_order(waiting, **NOT_HELD) if park else 0
    count += waiting.update(next_attempt_at=due, **NOT_HELD)
    own.update(**NOT_HELD)
    return count


def _count(pause_id: int, count: int, *, until: datetime | None = None) -> None:
    rows(Pause).filter(pk=pause_id).update(released=F("released") + count, released_until=until)


def _end(pause: Pause) -> None:
    """It was lifted and holds nothing any more; what it is of may be paused anew."""
    holds = Exists(rows(ReceiverRun).filter(held_by=OuterRef("pk")))
    ended = lasting().filter(~holds, pk=pause.pk, resumed_at=pause.resumed_at)
    ended.update(occupies=None, ended_at=clock.now())
