"""Sends messages from a thread, so that no request waits for the broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from itertools import groupby
from queue import Empty, SimpleQueue

from celery import Celery

from gemini_webhooks import logs, observe
from gemini_webhooks.dispatch import messages
from gemini_webhooks.processing import Handoff

logger = logs.get_logger(__name__)

#: How long the broker may take, in seconds.
PUBLISH_SECONDS = 1.0
#: How long nothing is published after a failure, in seconds.
COOL_DOWN_SECONDS = 30.0
#: What is posted within this time goes out together, in seconds.
GATHER_SECONDS = 0.01
#: As long as events come in such numbers, of which the first is found in the time above and the
#: second in this one: a message costs as much as several deliveries, and workers have enough to do.
BUSY_SECONDS = 0.1
MANY, STILL_MANY = 4, 20
MOST_AT_ONCE = 500

#: Called from the thread with whether the messages were sent.
Ended = Callable[[bool], None]


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What is to be sent, with which app.

    Attributes:
        ended: for whoever waits; may be called twice, if the broker answers after all.
        context: the trace and the log lines that it belongs to, if it goes out on its own.
    """

    handoffs: Sequence[Handoff]
    app: Celery
    ended: Ended | None
    context: Context | None


class Publisher:
    """Publishes from one thread; knows when the broker is not worth asking.

    Args:
        lost: told of what was posted and could not be sent, all at once, from any thread; maybe
            twice, or though the broker took it after all.
    """

    def __init__(self, lost: Callable[[Sequence[Handoff]], None]) -> None:
        self._lost = lost
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._cool_until = 0.0
        #: What the broker has been asked to take, and since when, as long as it has not answered.
        self._asked: Sequence[_Order] = ()
        self._asked_at = 0.0

    @property
    def cooling(self) -> bool:
        """Whether a failure was so recent that nothing is published."""
        return time.monotonic() < self._cool_until

    def publish(self, handoffs: Sequence[Handoff]) -> bool:
        """Publish messages now; ``False`` if that failed, took too long or was not tried."""
        ended = threading.Event()
        sent: list[bool] = []

        def note(is_sent: bool) -> None:  # as it is called
            sent.append(is_sent)
            ended.set()

        # The thread goes on with the trace of the caller, and its log lines are about the same.
        if not self._put(handoffs, note, copy_context()):
            return False
        if not ended.wait(PUBLISH_SECONDS):
            self._take_too_long()
            return False
        return sent[0]

    def post(self, handoff: Handoff) -> bool:
        """Publish a message soon, together with others; ``False`` if that is not tried."""
        return self._put([handoff], None, copy_context() if observe.is_traced() else None)

    def flush(self) -> bool:
        """Wait until what was posted is sent or lost; ``False`` if that takes too long."""
        return self._thread is None or self.cooling or self.publish([])

    def _put(
        self, handoffs: Sequence[Handoff], ended: Ended | None, context: Context | None
    ) -> bool:
        if self._asked and time.monotonic() - self._asked_at > PUBLISH_SECONDS:
            self._take_too_long()
        if self.cooling:
            observe.not_handed_off("cooling_down")
            return False
        if self._thread is None:
            self._start()
        app = messages.site_app()
        self._orders.put(_Order(handoffs=handoffs, app=app, ended=ended, context=context))
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
        pause = GATHER_SECONDS
        while True:
            begun = time.monotonic()
            orders = [self._orders.get()]
            if time.monotonic() - begun > BUSY_SECONDS:
                pause = GATHER_SECONDS
            if orders[0].context is None:
                time.sleep(pause)
            with suppress(Empty):
                while len(orders) < MOST_AT_ONCE:
                    orders.append(self._orders.get_nowait())
            many = MANY if pause == GATHER_SECONDS else STILL_MANY
            pause = BUSY_SECONDS if len(orders) >= many else GATHER_SECONDS
            for _, group in groupby(orders, key=lambda order: (id(order.app), id(order.context))):
                self._send(list(group))

    def _send(self, orders: Sequence[_Order]) -> None:
        """Send orders of one app and one context."""
        is_sent = not self.cooling and self._publish(orders)
        self._tell(orders, is_sent=is_sent)

    def _publish(self, orders: Sequence[_Order]) -> bool:
        handoffs = [handoff for order in orders for handoff in order.handoffs]
        if not handoffs:  # somebody waits for what was posted before
            return True
        run = (orders[0].context or Context()).run
        self._asked_at, self._asked = time.monotonic(), orders
        try:
            run(messages.publish, handoffs, app=orders[0].app, retry=False)
        except Exception as error:  # noqa: BLE001  # every transport has errors of its own
            self._cool_down(type(error).__name__)
            return False
        finally:
            self._asked = ()
        return True

    def _take_too_long(self) -> None:
        """Give up what the broker has been asked, and what waits behind it."""
        lost, self._asked = list(self._asked), ()
        observe.not_handed_off("timeout")
        self._cool_down(f"no answer within {PUBLISH_SECONDS:g} s")
        with suppress(Empty):
            while True:
                lost.append(self._orders.get_nowait())
        self._tell(lost, is_sent=False)

    def _tell(self, orders: Sequence[_Order], *, is_sent: bool) -> None:
        lost: list[Handoff] = []
        for order in orders:
            if order.ended is not None:
                order.ended(is_sent)
            elif not is_sent:
                lost += order.handoffs
        if not lost:
            return
        try:
            self._lost(lost)
        except Exception as error:  # noqa: BLE001  # the thread goes on; what was lost is swept later
            logger.error("hand-off not settled: %s", type(error).__name__)  # noqa: TRY400  # its text may quote rows

    def _cool_down(self, reason: str) -> None:
        self._cool_until = time.monotonic() + COOL_DOWN_SECONDS
        logger.error(
            "Celery's broker does not take messages (%s). Deliveries are stored; the sweeper "
            "hands them off. Next try in %g s.",
            reason,
            COOL_DOWN_SECONDS,
        )
