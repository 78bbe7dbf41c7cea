"""Runs tasks at their time, in a few threads."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

WORKERS = 8
#: Waits of centuries overflow.
LONGEST_WAIT_SECONDS = 3600

Task = Callable[[], object]
logger = logging.getLogger(__name__)


class Scheduler:
    """Jobs end and deliveries are tried here. The threads start with the first task."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()
        self._running = 0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def after(self, seconds: float, task: Task) -> int:
        """Run ``task`` in ``seconds``; return its number, for :meth:`cancel`."""
        with self._changed:
            number = next(self._numbers)
            heapq.heappush(self._waiting, (time.monotonic() + seconds, number, task))
            if not self._threads and not self._closed:
                self._start()
            self._changed.notify_all()
            return number

    def cancel(self, number: int) -> bool:
        """Forget a task that has not started; ``False`` if it has."""
        with self._changed:
            left = [entry for entry in self._waiting if entry[1] != number]
            was_waiting = len(left) < len(self._waiting)
            self._waiting = left
            heapq.heapify(self._waiting)
            self._changed.notify_all()
            return was_waiting

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing runs or waits; ``False`` if that takes over ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._running), timeout)

    def close(self, timeout: float = 2) -> None:
        """Drop what waits and end the threads; give running tasks ``timeout`` seconds in all."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))

    def _start(self) -> None:
        self._threads = [
            threading.Thread(target=self._work, name=f"gemini-emulator-{n}", daemon=True)
            for n in range(WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception:
                # A worker outlives any task; the others must still be delivered.
                logger.exception("A task of the emulator failed")
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _next(self) -> Task | None:
        with self._changed:
            while not self._closed:
                wait = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    self._running += 1
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(None if wait is None else min(wait, LONGEST_WAIT_SECONDS))
            return None
