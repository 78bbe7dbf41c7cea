"""Runs receivers one by one and records the outcome.

Knows nothing of Celery: it says what is to be handed on as :class:`Handoff` values, and whoever
called does that, be it a task or a loop over the database.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from django.db import Error as DatabaseTrouble
from django.db import OperationalError, close_old_connections, transaction

from gemini_webhooks import deliveries, events, leases, receivers, results, signals
from gemini_webhooks.backoff import retry_delay
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import Claim, LeaseLost, Plan, PlannedRun
from gemini_webhooks.events import Event
from gemini_webhooks.exceptions import GiveUp, PayloadPruned, RetryLater
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery

logger = logging.getLogger(__name__)

#: A run comes back so much later if the database would not wait for another of its resource.
BUSY_SECONDS = 5


#: How many things a process that drains for ever does before it looks at all of them again.
ROUND = 100


class ReceiverNotConnected(Exception):
    """No receiver of this name is connected in this process."""


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """Something to be done next, here or in another worker.

    Attributes:
        kind: ``run``: a receiver run; ``result``: a result file to fetch; ``delivery``: a
            delivery to take into processing.
        id: primary key of that row.
        queue: Celery queue, ``None`` for the default one.
        delay: seconds to wait before.
    """

    kind: Literal["delivery", "run", "result"]
    id: int
    queue: str | None = None
    delay: float = 0


@dataclass(frozen=True, kw_only=True)
class Drained:
    """What :func:`drain` did, counted."""

    deliveries: int = 0
    runs: int = 0
    results: int = 0

    def plus(self, more: Drained) -> Drained:
        """Both counts together."""
        return Drained(
            deliveries=self.deliveries + more.deliveries,
            runs=self.runs + more.runs,
            results=self.results + more.results,
        )


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What :func:`sweep` found: what to hand on, and how many deliveries it settled."""

    handoffs: tuple[Handoff, ...] = field(default=())
    settled: int = 0


def plan(delivery_id: int) -> list[Handoff]:
    """Take a received delivery into processing: one run per receiver, and its result file.

    Planning twice changes nothing.
    """
    delivery = deliveries.rows(WebhookDelivery).filter(pk=delivery_id).first()
    if delivery is None or delivery.state != WebhookDelivery.State.RECEIVED:
        return []
    try:
        event = _event(delivery, is_replay=False)
    except (PayloadPruned, events.Unreadable):
        deliveries.unreadable(delivery)
        return []
    if not deliveries.start(delivery, event, planned_for(event)):
        return []
    return handoffs_of(delivery)


def planned_for(event: Event) -> Plan:
    """What ``event`` asks for, with the receivers that are connected in this process."""
    source = event.result_source if settings.FETCH_RESULTS else None
    waiting = receivers.awaiting_result(event, WebhookDelivery) if source else []
    return Plan(
        runs=[
            PlannedRun(
                receiver=receiver.name,
                queue=receivers.queue_for(event, receiver),
                waits_for_result=receiver in waiting,
            )
            for receiver in receivers.matching(event, WebhookDelivery) + waiting
        ],
        result_source=source,
    )


def handoffs_of(delivery: WebhookDelivery) -> list[Handoff]:
    """The runs and result files of ``delivery`` that can start now."""
    runs = deliveries.rows(ReceiverRun).filter(delivery=delivery, next_attempt_at__isnull=False)
    results_to_fetch = deliveries.rows(ResultFile).filter(
        delivery=delivery, next_attempt_at__isnull=False
    )
    return [
        *(Handoff(kind="run", id=run.pk, queue=run.queue or None) for run in runs),
        *(Handoff(kind="result", id=result.pk) for result in results_to_fetch),
    ]


def run(run_id: int) -> list[Handoff]:
    """Run one receiver once, if the run is due and nobody else has it.

    Returns:
        The retry to schedule, if there is to be one.
    """
    held = deliveries.claim(run_id)
    if held is None:
        return []
    if held.run.attempts > settings.MAX_ATTEMPTS:
        if deliveries.bury_lost(held):
            _announce_failure(held.run)
        return []
    try:
        handoffs = _attempt(held)
    except LeaseLost:
        logger.warning("run %s was taken over by another worker; rolled back", run_id)
        return []
    _settle(held.run.delivery_id)
    return handoffs


def fetch_result(result_id: int) -> list[Handoff]:
    """Fetch a result file and let the receivers that wait for it start."""
    outcome = results.fetch(result_id)
    if outcome.state == "retrying":
        return [Handoff(kind="result", id=result_id, delay=outcome.retry_in or 0)]
    if outcome.state == "busy":
        return []
    result = deliveries.rows(ResultFile).filter(pk=result_id).first()
    return _after_fetch(result) if result else []


def sweep(limit: int = 500, *, everything: bool = False) -> Swept:
    """Find what was lost on the way: never handed off, overdue, or left by a dead worker.

    Args:
        limit: how many rows of each kind at most.
        everything: also what may still be under way; doing a thing twice changes nothing.
    """
    overdue = 0 if everything else deliveries.SWEEP_GRACE_SECONDS
    released = [
        handoff for result in deliveries.unreleased(limit) for handoff in _after_fetch(result)
    ]
    with transaction.atomic(using=deliveries.alias()):
        waiting = deliveries.to_dispatch(limit, overdue_only=not everything)
        runs = deliveries.runs_due(limit, overdue_seconds=overdue)
        fetches = deliveries.results_due(limit, overdue_seconds=overdue)
        deliveries.handed_off(
            delivery_ids=waiting, run_ids=[pk for pk, _ in runs], result_ids=fetches
        )
    handoffs = [Handoff(kind="delivery", id=pk) for pk in waiting]
    handoffs += [Handoff(kind="run", id=pk, queue=queue or None) for pk, queue in runs]
    handoffs += [Handoff(kind="result", id=pk) for pk in fetches]
    # What was released just now may be among the runs that are due.
    handoffs += [handoff for handoff in released if handoff not in handoffs]
    return Swept(handoffs=tuple(handoffs), settled=_settle())


def drain(limit: int | None = None, *, stop: Callable[[], bool] = lambda: False) -> Drained:
    """Process from the database until nothing is due, without any broker.

    Several processes may do so at once: who fails to claim a thing goes on to the next.

    Args:
        limit: end after so many deliveries, runs and results together.
        stop: asked before each; ``True`` ends it.
    """
    work: dict[str, Callable[[int], object]] = {
        "delivery": plan,
        "run": run,
        "result": fetch_result,
    }
    done: Counter[str] = Counter()
    seen: set[Handoff] = set()
    while limit is None or done.total() < limit:
        left = 100 if limit is None else min(100, limit - done.total())
        # What asked to be run again at once has had its turn.
        found = [item for item in sweep(left, everything=True).handoffs if item not in seen]
        if not found or stop():
            break
        for item in found[:left]:
            if stop():
                break
            seen.add(item)
            try:
                work[item.kind](item.id)
            except Exception as error:  # noqa: BLE001  # one bad row must not stop the others
                logger.error(  # noqa: TRY400  # a database error's text may quote the row
                    "%s %s not done: %s", item.kind, item.id, type(error).__name__
                )
                done["failed"] += 1
            else:
                done[item.kind] += 1
    return Drained(deliveries=done["delivery"], runs=done["run"], results=done["result"])


def drain_forever(stop: threading.Event, *, poll_seconds: float = 1.0) -> Drained:
    """Process from the database until ``stop`` is set; what was begun is ended.

    A database that is away is waited for.

    Args:
        stop: set it, from a signal handler for instance, to end.
        poll_seconds: how long to wait before looking again when nothing was due.
    """
    total = Drained()
    while not stop.is_set():
        close_old_connections()
        try:
            # In rounds: what wants another turn gets it in the next one, however much comes in.
            done = drain(ROUND, stop=stop.is_set)
        except DatabaseTrouble as error:
            logger.error("the database does not answer: %s", type(error).__name__)  # noqa: TRY400  # its text may quote rows
            done = Drained()
        total = total.plus(done)
        if done == Drained():
            stop.wait(poll_seconds)
    return total


def _attempt(held: Claim) -> list[Handoff]:
    current = held.run
    try:
        _execute(held)
    except LeaseLost:
        raise
    except RetryLater as request:
        deliveries.postpone(held, request.seconds)
        return [_again(current, request.seconds)]
    except (GiveUp, PayloadPruned) as error:
        deliveries.bury(held, error, gave_up=True)
    except (Exception, asyncio.CancelledError, SystemExit) as error:
        if _ends_the_worker(error):
            raise
        if current.attempts < settings.MAX_ATTEMPTS:
            delay = retry_delay(current.attempts)
            deliveries.retry(held, error, delay)
            return [_again(current, delay)]
        deliveries.bury(held, error)
    else:
        return []
    _announce_failure(current)
    return []


def _execute(held: Claim) -> None:
    current = held.run
    delivery = current.delivery
    event = _event(delivery, is_replay=current.is_replay)
    receiver = _receiver(current, event)
    arguments = {"sender": WebhookDelivery, "event": event, "delivery": delivery}
    if current.result is not None:
        arguments["result"] = current.result
    scope = transaction.atomic(using=deliveries.alias()) if receiver.atomic else nullcontext()
    with leases.renewing(held), scope:
        if receiver.latest_only and _is_overtaken(event, delivery, wait=receiver.atomic):
            deliveries.skip(held)
            return
        receiver(**arguments)
        deliveries.succeed(held)


def _event(delivery: WebhookDelivery, *, is_replay: bool) -> Event:
    superseded = partial(deliveries.is_superseded, delivery)
    return events.parse(deliveries.stored(delivery), is_replay=is_replay, superseded=superseded)


def _is_overtaken(event: Event, delivery: WebhookDelivery, *, wait: bool) -> bool:
    """Whether a newer event of the resource is stored; with ``wait``, none can act before us."""
    if wait and event.resource_id:
        try:
            deliveries.hold_resource(delivery)
        except OperationalError:
            # The receiver of another event of this resource takes long.
            raise RetryLater(BUSY_SECONDS) from None
    return event.is_stale()


def _receiver(current: ReceiverRun, event: events.Event) -> receivers.Receiver:
    find = receivers.matching if current.result_id is None else receivers.awaiting_result
    for receiver in find(event, WebhookDelivery):
        if receiver.name == current.receiver:
            return receiver
    raise ReceiverNotConnected(
        f"{current.receiver} is not connected in this worker: was it renamed, or is the module "
        "that connects it not imported by its app's ready()?"
    )


def _again(current: ReceiverRun, delay: float) -> Handoff:
    return Handoff(kind="run", id=current.pk, queue=current.queue or None, delay=delay)


def _ends_the_worker(error: BaseException) -> bool:
    """Celery's own orders to stop are kinds of ``SystemExit``; a receiver's ``exit()`` is not."""
    return isinstance(error, SystemExit) and type(error) is not SystemExit


def _settle(delivery_id: int | None = None) -> int:
    """Settle one delivery, or all that a dead worker left open.

    The next sweep repeats it, so trouble here (MariaDB ends a deadlock by failing one of the two)
    must not keep a run from handing on its retry.
    """
    try:
        if delivery_id is None:
            return deliveries.settle_all()
        deliveries.settle(delivery_id)
    except DatabaseTrouble as error:
        logger.warning("deliveries not settled: %s", type(error).__name__)
    return 0


def _after_fetch(result: ResultFile) -> list[Handoff]:
    if result.state == ResultFile.State.COMPLETE:
        released = deliveries.release(result.pk)
        runs = deliveries.rows(ReceiverRun).filter(pk__in=released)
        return [Handoff(kind="run", id=run.pk, queue=run.queue or None) for run in runs]
    for buried in deliveries.bury_waiting(result.pk, result.error):
        _announce_failure(buried)
    return []


def _announce_failure(dead: ReceiverRun) -> None:
    """Send ``delivery_failed``; what its receivers do wrong is logged, not raised."""
    run = deliveries.rows(ReceiverRun).select_related("delivery").get(pk=dead.pk)
    try:
        event = _event(run.delivery, is_replay=run.is_replay)
    except (PayloadPruned, events.Unreadable):
        event = None
    signals.delivery_failed.send_robust(
        sender=WebhookDelivery, event=event, delivery=run.delivery, run=run
    )
