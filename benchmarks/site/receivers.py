"""One receiver of one event, five of another; each inserts a row."""

from __future__ import annotations

from typing import Any

from django.db import connection

from benchmarks.site.tables import INSERT
from gemini_webhooks import receivers
from gemini_webhooks.events import Event


def connect(event_type: str, number: int) -> None:
    """Connect receiver ``number`` to events of this type."""

    @receivers.on(event_type, name=f"{event_type} {number}")
    def work(event: Event, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [f"{event.id} {number}", event.type, b"{}"])


connect("batch.succeeded", 1)
for _number in range(1, 6):
    connect("interaction.completed", _number)
