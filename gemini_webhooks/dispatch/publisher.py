"""Sends messages from a thread, so that no request waits long for a broker that is down."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextvars import Context, copy_context
from queue import SimpleQueue

from celery import Celery

from gemini_webhooks import logs, observe
from gemini_webhooks.dispatch import messages
from gemini_webhooks.processing import Handoff

logger = logs.get_logger(__name__)

#: How long a request waits for the broker at most, in seconds.
PUBLISH_SECONDS = 1.0
#: How long nothing is published after a failure, in seconds.
COOL_DOWN_SECONDS = 30.0


class Publisher:
    """Publishes from one thread; knows when the broker is not worth asking."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Future[None], Sequence[Handoff], Celery, Context]]
        self._jobs = SimpleQueue()
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
            observe.not_handed_off("cooling_down")
            return False
        self._start()
        done: Future[None] = Future()
        # The thread goes on with the trace of the request, and its log lines are about the same.
        self._jobs.put((done, handoffs, messages.site_app(), copy_context()))
        try:
            done.result(timeout=PUBLISH_SECONDS)
        except NotInTime:
            done.cancel()
            observe.not_handed_off("timeout")
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
            done, handoffs, app, context = self._jobs.get()
            if not done.set_running_or_notify_cancel():
                continue
            try:
                context.run(messages.publish, handoffs, app=app, retry=False)
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
