"""What Google sent to an endpoint since a moment, to tell whether a ping came back.

What a ping looks like is not documented. An event that says something about a job is none; any
other may be one.
"""

from __future__ import annotations

from gemini_webhooks import events
from gemini_webhooks.deliveries.common import rows
from gemini_webhooks.models import WebhookDelivery, WebhookEndpoint

OF_JOBS = {*events.CATALOGUE, *events.UNDOCUMENTED_ENDS}


def arrived(endpoint: WebhookEndpoint, *, since: int) -> WebhookDelivery | None:
    """The first delivery that Google made to ``endpoint``; what may be a ping goes before.

    Args:
        endpoint: where it came in.
        since: id of the newest delivery before.

    Raises:
        django.db.Error: the database did not answer.
    """
    came = rows(WebhookDelivery).filter(
        endpoint=endpoint, pk__gt=since, source=WebhookDelivery.Source.WEBHOOK
    )
    came = came.defer("body", "user_metadata", "headers").order_by("pk")
    return came.exclude(event_type__in=OF_JOBS).first() or came.first()


def may_be_ping(delivery: WebhookDelivery) -> bool:
    """Whether ``delivery`` says nothing about a job."""
    return events.job_state(delivery.event_type) is None
