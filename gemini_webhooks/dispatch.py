"""Hands a committed delivery to Celery; never raises into the request and never delays it long.

A broker can be down in many ways, some of which answer nothing for minutes. So the message is
published from a thread, the request waits for it a bounded time, and after a failure nothing is
published for a while: an outage costs one slow request per process, not all. What was not handed
off is in the database, where the sweeper finds it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from queue import SimpleQueue

from celery import Celery
from django.db import Error as DatabaseTrouble
from django.db import transaction

from gemini_webhooks import deliveries, tasks
from gemini_webhooks.processing import Handoff

logger = logging.getLogger(__name__)

#: How long a request waits for the broker at most, in seconds.
PUBLISH_SECONDS = 1.0
#: How long nothing is published after a failure, in seconds.
COOL_DOWN_SECONDS = 30.0


class Publisher:
    """Publishes from one thread; knows when the broker is not worth asking."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Future[None], Sequence[Handoff], Celery]] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._cool_until = 0.0

    @property
    def cooling(self) -> bool:
        """Whether a failure was so recent that nothing is published."""
        return time.monotonic() < self._cool_until

    def publish(self, handoffs: Sequence[Handoff]) -> bool:
        """Publish messages; ``False`` if that failed, took too long or was not tried."""
        if self.cooling:
            return False
        self._start()
        done: Future[None] = Future()
        self._jobs.put((done, handoffs, tasks.site_app()))
        try:
            done.result(timeout=PUBLISH_SECONDS)
        except NotInTime:
            done.cancel()
            self._cool_down(f"no answer within {PUBLISH_SECONDS:g} s")
            return False
        except Exception as error:  # noqa: BLE001  # every transport has errors of its own
            self._cool_down(type(error).__name__)
            return False
        return True

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                # A daemon: a broker that never answers must not keep the process from ending.
                self._thread = threading.Thread(
                    target=self._work, name="gemini-hand-off", daemon=True
                )
                self._thread.start()

    def _work(self) -> None:
        while True:
            done, handoffs, app = self._jobs.get()
            if not done.set_running_or_notify_cancel():
                continue
            try:
                tasks.publish(handoffs, app=app, retry=False)
            except Exception as error:  # noqa: BLE001  # raised again where the result is awaited
                done.set_exception(error)
            else:
                done.set_result(None)

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


def hand_off_all(handoffs: Sequence[Handoff]) -> None:
    """Have workers do what is due, as soon as the current transaction has committed."""
    transaction.on_commit(lambda: _publish(handoffs), using=deliveries.alias(), robust=True)


def _publish(handoffs: Sequence[Handoff]) -> bool:
    if tasks.site_app().conf.task_always_eager:
        tasks.publish(handoffs)
        return True
    return _publisher.publish(handoffs)


def _leave_to_sweeper(delivery_id: int) -> None:
    try:
        deliveries.sweep_soon(delivery_id)
    except DatabaseTrouble as error:
        logger.warning("delivery %s waits for its sweep: %s", delivery_id, type(error).__name__)
