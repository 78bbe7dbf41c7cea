"""Marks deliveries that are done."""

from __future__ import annotations

from django.db import Error as DatabaseTrouble

from gemini_webhooks import deliveries, logs, observe
from gemini_webhooks.models import ReceiverRun

logger = logs.get_logger(__name__)


def settle(delivery_id: int | None = None) -> int:
    """Settle one delivery, or all that a dead worker left open.

    The next sweep repeats it, so trouble here (MariaDB ends a deadlock by failing one of the two)
    must not keep a run from handing on its retry.

    Returns:
        How many this call settled.
    """
    try:
        if delivery_id is None:
            return deliveries.settle_all()
        return deliveries.settle(delivery_id)
    except DatabaseTrouble as error:
        logger.warning("deliveries not settled: %s", type(error).__name__)
    return 0


def settle_one(run: ReceiverRun) -> None:
    """Settle the delivery of ``run``, which has just ended, if it is done."""
    if settle(run.delivery_id) and not run.is_replay:
        observe.processed(run.delivery)
