"""How much is waiting, and for how long, read from the database at little cost.

Each figure reads one index and no more than a bounded part of it, so the size of the tables makes
no difference. Asked again within a few seconds, a process gives the same answer.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q, QuerySet

from gemini_webhooks import clock
from gemini_webhooks.deliveries import SWEEP_GRACE_SECONDS, rows, untaken
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery

#: Nothing is counted beyond: such a figure means “at least”.
CEILING = 10_000
#: How long a process keeps its figures, in seconds.
KEEP_SECONDS = 5.0
#: So many of those that are due the longest are looked at, to find out since when.
LOOK_AT = 1000

OPEN = (WebhookDelivery.State.RECEIVED, WebhookDelivery.State.PROCESSING)


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What is waiting.

    Attributes:
        oldest_seconds: for how long that has been waiting which has been waiting longest for
            somebody to do it. What is to be done later, is held by a pause, or waits for a place
            in its lane or for a result file, waits for something else.
        deliveries: by open state.
        runs: ``due``: to be executed now; ``running``; ``scheduled``: to be tried again later;
            ``parked``: waiting for a place in their lane; ``held``: by a pause; ``dead``: not to
            be tried again.
        results: files to be fetched: ``due``, ``fetching``, ``scheduled``.
    """

    oldest_seconds: float
    deliveries: dict[str, int]
    runs: dict[str, int]
    results: dict[str, int]


class _Kept:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.backlog: Backlog | None = None
        self.until = 0.0


_kept = _Kept()


def reset() -> None:
    """Forget the last figures."""
    _kept.backlog = None


def backlog() -> Backlog:
    """How things stand, or stood a few seconds ago.

    Raises:
        django.db.Error: the database does not answer.
    """
    with _kept.lock:
        if _kept.backlog is None or time.monotonic() >= _kept.until:
            _kept.backlog = read()
            _kept.until = time.monotonic() + KEEP_SECONDS
        return _kept.backlog


def read() -> Backlog:
    """How things stand now.

    Raises:
        django.db.Error: the database does not answer.
    """
    now = clock.now()
    deliveries, runs, results = rows(WebhookDelivery), rows(ReceiverRun), rows(ResultFile)
    due, later = Q(next_attempt_at__lte=now), Q(next_attempt_at__gt=now)
    states, files = ReceiverRun.State, ResultFile.State
    to_run = runs.filter(state__in=(states.PENDING, states.RETRYING))
    to_fetch = results.filter(state__in=(files.PENDING, files.RETRYING))
    return Backlog(
        oldest_seconds=max(
            _since_receipt(untaken(deliveries)),
            *(_overdue(runs.filter(due, state=s)) for s in (states.PENDING, states.RETRYING)),
            *(_overdue(results.filter(due, state=s)) for s in (files.PENDING, files.RETRYING)),
        ),
        deliveries={state.value: _count(deliveries.filter(state=state)) for state in OPEN},
        runs={
            "due": _count(to_run.filter(due)),
            "running": _count(runs.filter(state=states.RUNNING)),
            "scheduled": _count(to_run.filter(later)),
            "parked": _count(runs.filter(lane__gt="", parked_at__isnull=False), "lane"),
            "held": _count(runs.filter(held_by__gt=0), "held_by"),
            "dead": _count(runs.filter(state=states.DEAD)),
        },
        results={
            "due": _count(to_fetch.filter(due)),
            "fetching": _count(results.filter(state=files.FETCHING)),
            "scheduled": _count(to_fetch.filter(later)),
        },
    )


def _count(
    found: QuerySet[WebhookDelivery] | QuerySet[ReceiverRun] | QuerySet[ResultFile],
    column: str = "state",
) -> int:
    """Count up to the ceiling; ``column`` is one of the index, so that no row is read."""
    counted: int = found.order_by().values(column)[:CEILING].count()
    return counted


def _since_receipt(received: QuerySet[WebhookDelivery]) -> float:
    first = received.order_by("received_at").values_list("received_at", flat=True).first()
    return _age(first) if first else 0.0


def _overdue(due: QuerySet[ReceiverRun] | QuerySet[ResultFile]) -> float:
    """For how long it has been due at least.

    Each sweep makes a thing due anew, so those that went before are added.
    """
    found = due.order_by("next_attempt_at").values_list("next_attempt_at", "sweeps")[:LOOK_AT]
    return max(
        (_age(since) + SWEEP_GRACE_SECONDS * (2**sweeps - 1) for since, sweeps in found if since),
        default=0.0,
    )


def _age(moment: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - clock.aware(moment)).total_seconds())
