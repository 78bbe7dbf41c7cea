"""Tells the site of receivers that gave up."""

from __future__ import annotations

from gemini_webhooks import deliveries, events, observe, signals
from gemini_webhooks.exceptions import PayloadPruned
from gemini_webhooks.models import ReceiverRun, WebhookDelivery
from gemini_webhooks.processing.planning import event_of


def announce_failure(dead: ReceiverRun) -> None:
    """Send ``delivery_failed``; what its receivers do wrong is logged, not raised."""
    run = deliveries.rows(ReceiverRun).select_related("delivery").get(pk=dead.pk)
    try:
        event = event_of(run.delivery, is_replay=run.is_replay)
    except (PayloadPruned, events.Unreadable):
        event = None
    observe.gave_up(run)
    with observe.about(run):
        signals.delivery_failed.send_robust(
            sender=WebhookDelivery, event=event, delivery=run.delivery, run=run
        )
