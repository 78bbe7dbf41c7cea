"""Runs one receiver once and records the outcome."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from copy import deepcopy

from django.conf import settings as django_settings
from django.db import OperationalError, transaction

from gemini_webhooks import deliveries, events, leases, logs, observe, receivers
from gemini_webhooks.backoff import retry_delay
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import Claim, LeaseLost, RunHeld
from gemini_webhooks.events import Event
from gemini_webhooks.exceptions import GiveUp, PayloadPruned, RetryLater
from gemini_webhooks.models import ReceiverRun, WebhookDelivery
from gemini_webhooks.processing import quickness
from gemini_webhooks.processing.failures import announce_failure
from gemini_webhooks.processing.handoffs import Handoff, admitted, handoff_of
from gemini_webhooks.processing.planning import event_of
from gemini_webhooks.processing.settling import settle_one

logger = logs.get_logger(__name__)

#: A run comes back so much later if the database would not wait for another of its resource.
BUSY_SECONDS = 5

#: How an attempt ends that raises one of these; anything else is a failure.
ENDINGS: dict[type[BaseException], str] = {
    RetryLater: "postponed",
    GiveUp: "gave_up",
    PayloadPruned: "gave_up",
    LeaseLost: "lost",
}


class ReceiverNotConnected(Exception):
    """No receiver of this name is connected in this process."""


def run(run_id: int) -> list[Handoff]:
    """Run one receiver once, if the run is due, not paused, and nobody else has it.

    Returns:
        The retry to schedule, if there is to be one, and what may start in its lane.
    """
    try:
        held = deliveries.claim(run_id)
    except RunHeld as paused:
        return admitted(paused.lane)
    if held is None:
        return []
    with observe.about(held.run):
        handoffs = _run(held)
        settle_one(held.run)
        return handoffs + admitted(held.run.lane)


def run_new(new: ReceiverRun) -> list[Handoff]:
    """As :func:`run` for one that was planned just now; :func:`settle_one` is for the caller.

    Args:
        new: with its delivery and result, of which the receiver gets copies: it may change them.
    """
    new.delivery, new.result = deepcopy((new.delivery, new.result))
    held = deliveries.claim_new(new)
    if held is None:
        return run(new.pk)
    with observe.about(new):
        return _run(held)


def _run(held: Claim) -> list[Handoff]:
    if held.run.attempts > settings.MAX_ATTEMPTS:
        if deliveries.bury_lost(held):
            announce_failure(held.run)
        return []
    try:
        with quickness.measured(held.run.receiver):
            return _attempt(held)
    except LeaseLost:
        logger.warning("run %s was taken over by another worker; rolled back", held.run.pk)
    return []


def _attempt(held: Claim) -> list[Handoff]:
    current = held.run
    try:
        with observe.attempt(current, ENDINGS) as seen:
            seen.outcome = _execute(held)
    except LeaseLost:
        raise
    except RetryLater as request:
        deliveries.postpone(held, request.seconds)
        return [handoff_of(current, request.seconds)]
    except (GiveUp, PayloadPruned) as error:
        deliveries.bury(held, error, gave_up=True)
        _complain(current, error, "it gives up")
    except (Exception, asyncio.CancelledError, SystemExit) as error:
        if _ends_the_worker(error):
            raise
        if current.attempts < settings.MAX_ATTEMPTS:
            delay = retry_delay(current.attempts)
            deliveries.retry(held, error, delay)
            _complain(current, error, f"again in {delay:.0f} s")
            return [handoff_of(current, delay)]
        deliveries.bury(held, error)
        _complain(current, error, "for good")
    else:
        return []
    announce_failure(current)
    return []


def _complain(current: ReceiverRun, error: BaseException, what_now: str) -> None:
    """Log an attempt that failed. What its error says may quote a payload: for developers only."""
    logger.warning(
        "%s failed (attempt %d, %s): %s",
        current.receiver,
        current.attempts,
        what_now,
        type(error).__name__,
        exc_info=error if django_settings.DEBUG else None,
    )


def _execute(held: Claim) -> str:
    """Call the receiver and mark the run. Returns how it ended."""
    current = held.run
    delivery = current.delivery
    event = event_of(delivery, is_replay=current.is_replay)
    receiver = _receiver(current, event)
    arguments = {"sender": WebhookDelivery, "event": event, "delivery": delivery}
    if current.result is not None:
        arguments["result"] = current.result
    scope = transaction.atomic(using=deliveries.alias()) if receiver.atomic else nullcontext()
    with leases.renewing(held), scope:
        if receiver.latest_only and _is_overtaken(event, delivery, wait=receiver.atomic):
            deliveries.skip(held)
            return "skipped"
        receiver(**arguments)
        deliveries.succeed(held)
    return "succeeded"


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


def _ends_the_worker(error: BaseException) -> bool:
    """Celery's own orders to stop are kinds of ``SystemExit``; a receiver's ``exit()`` is not."""
    return isinstance(error, SystemExit) and type(error) is not SystemExit
