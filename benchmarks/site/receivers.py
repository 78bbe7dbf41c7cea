"""One receiver of one event, five of another; each inserts a row. And one that notes the time."""

from __future__ import annotations

import time
from typing import Any

from django.db import connection

from benchmarks.site.tables import INSERT
from gemini_webhooks import receivers
from gemini_webhooks.events import Event
from gemini_webhooks.models import WebhookDelivery


def connect(event_type: str, number: int) -> None:
    """Connect receiver ``number`` to events of this type."""

    @receivers.on(event_type, name=f"{event_type} {number}")
    def work(event: Event, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [f"{event.id} {number}", event.type, b"{}"])


connect("batch.succeeded", 1)
for _number in range(1, 6):
    connect("interaction.completed", _number)


@receivers.on("video.generated", name="arrived")
def arrived(event: Event, delivery: WebhookDelivery, **_: Any) -> None:
    """Notes how long after the request it runs, in seconds."""
    seconds = time.time() - delivery.received_at.timestamp()
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [event.id, "ours", str(seconds).encode()])
