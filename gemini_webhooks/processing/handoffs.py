"""What is to be done next, here or in another worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django.db import Error as DatabaseTrouble
from django.db.models import Q, QuerySet

from gemini_webhooks import clock, deliveries, logs
from gemini_webhooks.deliveries import Started
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery

logger = logs.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """Something to be done next, here or in another worker.

    Attributes:
        kind: ``run``: a receiver run; ``result``: a result file to fetch; ``delivery``: a
            delivery to take into processing; ``replay``: the next step of a bulk replay.
        id: primary key of that row.
        queue: Celery queue, ``None`` for the default one.
        delay: seconds to wait before.
    """

    kind: Literal["delivery", "run", "result", "replay"]
    id: int
    queue: str | None = None
    delay: float = 0


def handoffs_of(delivery: WebhookDelivery) -> list[Handoff]:
    """The runs and result files of ``delivery`` that can start now.

    If some of its runs have to wait in lanes: also what can start there, whoever's it is.
    """
    runs = deliveries.rows(ReceiverRun).filter(delivery=delivery)
    results_to_fetch = deliveries.rows(ResultFile).filter(
        delivery=delivery, next_attempt_at__isnull=False
    )
    return [
        *startable(runs),
        *(Handoff(kind="result", id=result.pk) for result in results_to_fetch),
    ]


def due_of(delivery: WebhookDelivery) -> list[Handoff]:
    """The runs of ``delivery`` that are due, whether they were handed on before or not."""
    runs = deliveries.rows(ReceiverRun).filter(delivery=delivery)
    return startable(runs.filter(next_attempt_at__lte=clock.now()))


def first_handoffs(delivery: WebhookDelivery, started: Started) -> list[Handoff]:
    """As :func:`handoffs_of` for a delivery that has just got its runs, without a look at them."""
    if any(run.lane for run in started.runs):  # which may have to be waited for
        return handoffs_of(delivery)
    due = [handoff_of(run) for run in started.runs if run.next_attempt_at is not None]
    if started.result is None or started.result.next_attempt_at is None:
        return due
    return [*due, Handoff(kind="result", id=started.result.pk)]


def startable(runs: QuerySet[ReceiverRun]) -> list[Handoff]:
    """Those of ``runs`` that are due, and what may start in lanes where others are parked."""
    waiting = runs.filter(Q(next_attempt_at__isnull=False) | Q(parked_at__isnull=False))
    found = list(waiting.defer("last_error"))
    due = [handoff_of(run) for run in found if run.parked_at is None]
    return due + [handoff for lane in deliveries.lanes_of(found) for handoff in admitted(lane)]


def admitted(lane: str) -> list[Handoff]:
    """The runs that may start in ``lane`` now. If that cannot be found out, the next sweep does."""
    if not lane:
        return []
    try:
        runs = deliveries.rows(ReceiverRun).filter(pk__in=deliveries.admit(lane))
        return [handoff_of(run) for run in runs.defer("last_error")]
    except DatabaseTrouble as error:
        # Not the lane's name, which may hold a value of the metadata.
        logger.warning("nothing admitted to a lane: %s", type(error).__name__)
        return []


def handoff_of(run: ReceiverRun, delay: float = 0) -> Handoff:
    """What has ``run`` executed, ``delay`` seconds from now."""
    return Handoff(kind="run", id=run.pk, queue=run.queue or None, delay=delay)
