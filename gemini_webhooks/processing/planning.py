"""Takes deliveries into processing: which receivers an event has, and what can start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from gemini_webhooks import deliveries, events, observe, receivers, routing
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import Plan, PlannedRun
from gemini_webhooks.events import Event
from gemini_webhooks.exceptions import PayloadPruned
from gemini_webhooks.models import WebhookDelivery
from gemini_webhooks.processing.handoffs import Handoff, first_handoffs


def plan(delivery_id: int) -> list[Handoff]:
    """Take a received delivery into processing: one run per receiver, and its result file.

    Planning twice changes nothing.
    """
    delivery = deliveries.rows(WebhookDelivery).filter(pk=delivery_id).first()
    if delivery is None or delivery.state != WebhookDelivery.State.RECEIVED:
        return []
    with observe.planning(delivery):
        return _plan(delivery)


def plan_all(delivery_ids: Iterable[int]) -> Iterator[Handoff]:
    """As :func:`plan` for several deliveries; one that fails stops none of the others.

    Raises:
        Exception: what the last of those that failed raised, after all the others.
    """
    failure: Exception | None = None
    for delivery_id in delivery_ids:
        try:
            yield from plan(delivery_id)
        except Exception as error:  # noqa: BLE001  # raised below
            failure = error
    if failure is not None:
        raise failure


def _plan(delivery: WebhookDelivery) -> list[Handoff]:
    try:
        event = event_of(delivery, is_replay=False)
    except (PayloadPruned, events.Unreadable):
        deliveries.unreadable(delivery)
        return []
    started = deliveries.start(delivery, event, planned_for(event))
    return first_handoffs(delivery, started) if started else []


def planned_for(event: Event) -> Plan:
    """What ``event`` asks for, with the receivers that are connected in this process."""
    source = event.result_source if settings.FETCH_RESULTS else None
    waiting = receivers.awaiting_result(event, WebhookDelivery) if source else []
    return Plan(
        runs=[
            PlannedRun(
                receiver=receiver.name,
                queue=routing.queue_for(event, receiver),
                lane=routing.lane_for(event, receiver),
                waits_for_result=receiver in waiting,
            )
            for receiver in receivers.matching(event, WebhookDelivery) + waiting
        ],
        result_source=source,
    )


def event_of(delivery: WebhookDelivery, *, is_replay: bool) -> Event:
    """What ``delivery`` says.

    Raises:
        PayloadPruned: its body is no longer there.
        Unreadable: it cannot be parsed.
    """
    superseded = partial(deliveries.is_superseded, delivery)
    return events.parse(deliveries.stored(delivery), is_replay=is_replay, superseded=superseded)
