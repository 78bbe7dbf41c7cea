"""Reads single rows that every run needs."""

from __future__ import annotations

from gemini_webhooks.deliveries.common import rows
from gemini_webhooks.deliveries.statements import Select, slots
from gemini_webhooks.models import WebhookDelivery

_by_id = Select(lambda: rows(WebhookDelivery).filter(**slots(WebhookDelivery, "id")))


def delivery_of(delivery_id: int) -> WebhookDelivery | None:
    """The delivery with this primary key, as it is now; ``None`` if there is none."""
    found = _by_id(id=delivery_id)
    return found[0] if found else None
