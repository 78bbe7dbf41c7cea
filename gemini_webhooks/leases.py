"""Keeps the claim on a run alive while its receiver works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from django.db import Error as DatabaseTrouble
from django.db import connections

from gemini_webhooks import deliveries, logs
from gemini_webhooks.deliveries import Claim

logger = logs.get_logger(__name__)

RENEW_SECONDS = deliveries.LEASE_SECONDS / 3


@contextmanager
def renewing(held: Claim) -> Iterator[None]:
    """Renew the lease of ``held`` from a thread, every third of its length, until the end.

    It has to be a thread with a connection of its own: the receiver's transaction must not
    show the renewal before it commits.
    """
    ended = threading.Event()
    thread = threading.Thread(
        # In a copy of the context, so that its log lines name the delivery.
        target=copy_context().run,
        args=(_renew_until, held, ended),
        name=f"lease-{held.run.pk}",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _renew_until(held: Claim, ended: threading.Event) -> None:
    try:
        while not ended.wait(RENEW_SECONDS):
            try:
                if not deliveries.renew(held):
                    return
            except DatabaseTrouble as error:
                # SQLite has one writer, and that may be the receiver: then nobody else can
                # take the run either. Elsewhere the next turn may succeed.
                logger.warning("lease of run %s not renewed: %s", held.run.pk, type(error).__name__)
                connections.close_all()  # this thread's own; the next turn opens a new one
    finally:
        connections.close_all()
