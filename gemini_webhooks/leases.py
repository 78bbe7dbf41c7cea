"""Keeps the claim on a run alive while its receiver works.

Most receivers are done long before a renewal is due, and a thread costs more than many of them
do. So one thread per process watches over what is held, and starts another one for a run that
lasts. It ends when there is nothing to watch.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from django.db import Error as DatabaseTrouble
from django.db import connections

from gemini_webhooks import deliveries, logs
from gemini_webhooks.deliveries import Claim

logger = logs.get_logger(__name__)

RENEW_SECONDS = deliveries.LEASE_SECONDS / 3
#: So often in that time the watch looks for runs that last: the first renewal is so much later.
LOOKS = 4

_watch: _Watch


@contextmanager
def renewing(held: Claim) -> Iterator[None]:
    """Renew the lease of ``held`` from a thread, every third of its length, until the end.

    It has to be a thread with a connection of its own: the receiver's transaction must not
    show the renewal before it commits.
    """
    lease = _Lease(held)
    try:
        _watch.add(lease)
        yield
    finally:
        _watch.remove(lease)
        lease.end()


class _Lease:
    """What is held, and the thread that renews it, if it lasts."""

    def __init__(self, held: Claim) -> None:
        self._held = held
        self._since = time.monotonic()
        # So that log lines of the thread name the delivery.
        self._context = copy_context()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start_if_due(self) -> None:
        """Begin to renew it, if it has been held for long enough."""
        if self._thread is not None or time.monotonic() - self._since < RENEW_SECONDS:
            return
        thread = threading.Thread(
            target=self._context.run,
            args=(_renew_until, self._held, self._ended),
            name=f"lease-{self._held.run.pk}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no more; the next look tries again
            logger.warning("no thread to renew the lease of run %s", self._held.run.pk)
        else:
            self._thread = thread

    def end(self) -> None:
        """Renew it no more. Call it once nobody starts it."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()


class _Watch:
    """Looks for leases whose renewal is due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leases: set[_Lease] = set()
        self._thread: threading.Thread | None = None

    def add(self, lease: _Lease) -> None:
        with self._lock:
            self._leases.add(lease)
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="gemini-leases", daemon=True)
                thread.start()
                self._thread = thread

    def remove(self, lease: _Lease) -> None:
        with self._lock:
            self._leases.discard(lease)

    def _work(self) -> None:
        while True:
            time.sleep(RENEW_SECONDS / LOOKS)
            with self._lock:
                if not self._leases:
                    self._thread = None
                    return
                for lease in self._leases:
                    lease.start_if_due()


def _renew_until(held: Claim, ended: threading.Event) -> None:
    """Renew it now, and again and again."""
    try:
        while not ended.is_set():
            try:
                if not deliveries.renew(held):
                    return
            except DatabaseTrouble as error:
                # SQLite has one writer, and that may be the receiver: then nobody else can
                # take the run either. Elsewhere the next turn may succeed.
                logger.warning("lease of run %s not renewed: %s", held.run.pk, type(error).__name__)
                connections.close_all()  # this thread's own; the next turn opens a new one
            ended.wait(RENEW_SECONDS)
    finally:
        connections.close_all()


def reset() -> None:
    """Start over: in a forked process, where there are no threads, and between tests."""
    global _watch  # noqa: PLW0603  # one per process
    _watch = _Watch()


reset()
os.register_at_fork(after_in_child=reset)
