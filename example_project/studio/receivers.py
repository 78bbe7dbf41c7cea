"""What the studio does when Google says that a job has ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.dispatch import receiver

from example_project.studio.models import BatchRow
from gemini_webhooks.events import Event
from gemini_webhooks.models import ResultFile
from gemini_webhooks.signals import event_received, result_ready

logger = logging.getLogger(__name__)


@receiver(event_received)
def log_event(event: Event, **_: Any) -> None:
    """Write a line about every event, of known types and others."""
    logger.info("%s says %s", event.resource_id, event.type)


@receiver(result_ready)
def store_rows(event: Event, result: ResultFile, **_: Any) -> None:
    """Keep the rows of a batch.

    All of them or none, and only once: this runs in one transaction with the mark that it ran.
    """
    tenant = event.user_metadata.get("tenant", "")
    BatchRow.objects.bulk_create(
        (
            BatchRow(
                batch_id=event.resource_id,
                tenant=tenant,
                key=row["key"],
                text=_text(row.get("response") or {}),
                error=(row.get("error") or {}).get("message", ""),
            )
            for row in result.rows()
        ),
        batch_size=500,
    )


def _text(response: Mapping[str, Any]) -> str:
    return "".join(
        part.get("text", "")
        for candidate in response.get("candidates", [])[:1]
        for part in candidate.get("content", {}).get("parts", [])
    )
