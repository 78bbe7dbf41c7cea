"""Hands a committed delivery to Celery; never raises into the request and never delays it.

A broker can be down in many ways, some of which answer nothing for minutes. So messages are
published from a thread, which sends together what arrives within a few milliseconds, or more where
it is much; after a failure nothing is published for a while. What was not handed off is in the
database, where the sweeper finds it.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence

from django.db import Error as DatabaseTrouble
from django.db import connections, transaction

from gemini_webhooks import deliveries, logs
from gemini_webhooks.dispatch import messages
from gemini_webhooks.dispatch.publisher import Publisher
from gemini_webhooks.processing import Handoff

logger = logs.get_logger(__name__)

_publisher: Publisher | None


def reset() -> None:
    """Start over with a new publisher: in a forked process, and between tests."""
    global _publisher  # noqa: PLW0603  # one per process; threads do not survive a fork
    _publisher = Publisher(_lost)


def leave_to_drain() -> None:
    """Publish nothing: in this process something looks into the database for what is due."""
    global _publisher  # noqa: PLW0603  # likewise
    _publisher = None


os.register_at_fork(after_in_child=reset)


def broker_is_up() -> bool:
    """Whether a hand-off would be tried now."""
    return _publisher is None or not _publisher.cooling


def hand_off(delivery_id: int) -> None:
    """Have a worker process a delivery, soon after the current transaction has committed."""

    def post() -> None:
        handoff = Handoff(kind="delivery", id=delivery_id)
        if _publisher is None:
            return
        if messages.is_eager(messages.site_app()):
            messages.publish([handoff])
        elif not _publisher.post(handoff):
            _leave_to_sweeper([delivery_id])

    transaction.on_commit(post, using=deliveries.alias(), robust=True)


def flush() -> bool:
    """Wait until what was handed off is published; ``False`` if the broker takes too long."""
    return _publisher is None or _publisher.flush()


atexit.register(flush)


def hand_off_all(find: Callable[[], Sequence[Handoff]]) -> None:
    """Have workers do what ``find`` returns, once the current transaction has committed."""
    transaction.on_commit(lambda: _publish(find()), using=deliveries.alias(), robust=True)


def _publish(handoffs: Sequence[Handoff]) -> bool:
    if _publisher is None:
        return True
    if messages.is_eager(messages.site_app()):
        messages.publish(handoffs)
        return True
    return _publisher.publish(handoffs)


def _lost(handoffs: Sequence[Handoff]) -> None:
    _leave_to_sweeper([handoff.id for handoff in handoffs])
    connection = connections[deliveries.alias()]
    if not connection.in_atomic_block:
        # The publisher's thread has no use for it until the next failure.
        connection.close()


def _leave_to_sweeper(delivery_ids: Sequence[int]) -> None:
    try:
        deliveries.sweep_soon(delivery_ids)
    except DatabaseTrouble as error:
        count, kind = len(delivery_ids), type(error).__name__
        logger.warning("%d delivery(s) wait for their sweep: %s", count, kind)


_publisher = Publisher(_lost)
