"""Takes deliveries into processing: which receivers an event has, and what can start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from gemini_webhooks import deliveries, events, observe, receivers, routing
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import Plan, PlannedRun
from gemini_webhooks.events import Event
from gemini_webhooks.exceptions import PayloadPruned
from gemini_webhooks.models import ReceiverRun, WebhookDelivery
from gemini_webhooks.processing.handoffs import Handoff, due_of, first_handoffs, handoff_of


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What :func:`plan_new` found to be done next.

    Attributes:
        handoffs: all of it.
        runs: those of them that are new, of receivers that can start now.
    """

    handoffs: Sequence[Handoff] = ()
    runs: Mapping[Handoff, ReceiverRun] = field(default_factory=dict)


def plan(delivery_id: int) -> list[Handoff]:
    """Take a received delivery into processing: one run per receiver, and its result file.

    Planning twice changes nothing.
    """
    return list(plan_new(delivery_id).handoffs)


def plan_new(delivery_id: int, *, again: bool = False) -> Planned:
    """As :func:`plan`, with the runs.

    Args:
        delivery_id: the delivery.
        again: whoever planned it may not have handed on what is due: it is found here, too.
    """
    delivery = deliveries.delivery_of(delivery_id)
    if delivery is None:
        return Planned()
    if delivery.state != WebhookDelivery.State.RECEIVED:
        return Planned(handoffs=due_of(delivery) if again else [])
    with observe.planning(delivery):
        return _plan(delivery)


def _plan(delivery: WebhookDelivery) -> Planned:
    try:
        event = event_of(delivery, is_replay=False)
    except (PayloadPruned, events.Unreadable):
        deliveries.unreadable(delivery)
        return Planned()
    started = deliveries.start(delivery, event, planned_for(event))
    if started is None:
        return Planned()
    new = {handoff_of(run): run for run in started.runs if run.next_attempt_at is not None}
    return Planned(handoffs=first_handoffs(delivery, started), runs=new)


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
