"""Lets go runs that pauses held."""

from __future__ import annotations

from dataclasses import replace

from django.db import Error as DatabaseTrouble

from gemini_webhooks import deliveries, logs
from gemini_webhooks.models import ReceiverRun
from gemini_webhooks.processing.handoffs import Handoff, startable

logger = logs.get_logger(__name__)


def let_go(limit: int) -> list[Handoff]:
    """Let go runs whose pause is lifted, or gone; the next sweep does if there is trouble.

    At a rate each has its own delay, so that they do not all start at once.

    Args:
        limit: how many of each pause, at most.
    """
    try:
        return [
            replace(handoff, delay=group.delay)
            for group in deliveries.let_go(limit)
            for handoff in startable(deliveries.rows(ReceiverRun).filter(pk__in=group.ids))
        ]
    except DatabaseTrouble as error:
        # Of two at the same time, MariaDB may have one fail.
        logger.warning("no paused runs let go: %s", type(error).__name__)
        return []
