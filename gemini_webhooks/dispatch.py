"""Hands a committed delivery to Celery; never raises into the request and never delays it long.

A broker can be down in many ways, some of which answer nothing for minutes. So the message is
published from a thread, the request waits for it a bounded time, and after a failure nothing is
published for a while: an outage costs one slow request per process, not all. What was not handed
off is in the database, where the sweeper finds it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime

from django.db import DatabaseError, transaction

from gemini_webhooks import deliveries, tasks
from gemini_webhooks.models import ReceiverRun
from gemini_webhooks.processing import Handoff

logger = logging.getLogger(__name__)

#: How long a request waits for the broker at most, in seconds.
PUBLISH_SECONDS = 1.0
#: How long nothing is published after a failure, in seconds.
COOL_DOWN_SECONDS = 30.0


class Publisher:
    """Publishes from one thread; knows when the broker is not worth asking."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gemini-hand-off")
        self._cool_until = 0.0

    @property
    def cooling(self) -> bool:
        """Whether a failure was so recent that nothing is published."""
        return time.monotonic() < self._cool_until

    def publish(self, handoffs: Sequence[Handoff]) -> bool:
        """Publish messages; ``False`` if that failed, took too long or was not tried."""
        if self.cooling:
            return False
        app = tasks.site_app()
        future = self._threads.submit(tasks.publish, handoffs, app=app, retry=False)
        try:
            future.result(timeout=PUBLISH_SECONDS)
        except NotInTime:
            future.cancel()
            self._cool_down(f"no answer within {PUBLISH_SECONDS:g} s")
            return False
        except Exception as error:  # noqa: BLE001  # every transport has errors of its own
            self._cool_down(type(error).__name__)
            return False
        return True

    def _cool_down(self, reason: str) -> None:
        self._cool_until = time.monotonic() + COOL_DOWN_SECONDS
        logger.error(
            "Celery's broker does not take messages (%s). Deliveries are stored; the sweeper "
            "hands them off. Next try in %g s.",
            reason,
            COOL_DOWN_SECONDS,
        )


_publisher = Publisher()


def reset() -> None:
    """Start over with a new publisher: in a forked process, and between tests."""
    global _publisher  # noqa: PLW0603  # one per process; threads do not survive a fork
    _publisher = Publisher()


os.register_at_fork(after_in_child=reset)


def broker_is_up() -> bool:
    """Whether a hand-off would be tried now."""
    return not _publisher.cooling


def hand_off(delivery_id: int) -> None:
    """Have a worker process a delivery, as soon as the current transaction has committed."""

    def publish() -> None:
        if not _publish([Handoff(kind="delivery", id=delivery_id)]):
            _leave_to_sweeper(delivery_id)

    transaction.on_commit(publish, using=deliveries.alias(), robust=True)


def hand_off_runs(run_ids: Sequence[int]) -> None:
    """Have workers execute runs that are due, as soon as the current transaction has committed."""
    queues = ReceiverRun.objects.filter(pk__in=run_ids).values_list("pk", "queue")
    handoffs = [Handoff(kind="run", id=pk, queue=queue or None) for pk, queue in queues]
    transaction.on_commit(lambda: _publish(handoffs), using=deliveries.alias(), robust=True)


def _publish(handoffs: Sequence[Handoff]) -> bool:
    if tasks.site_app().conf.task_always_eager:
        tasks.publish(handoffs)
        return True
    return _publisher.publish(handoffs)


def _leave_to_sweeper(delivery_id: int) -> None:
    try:
        deliveries.sweep_soon(delivery_id)
    except DatabaseError as error:
        logger.warning("delivery %s waits for its sweep: %s", delivery_id, type(error).__name__)
