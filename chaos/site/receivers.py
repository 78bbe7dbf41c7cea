"""Receivers of each kind. Each writes one row per call, into a table that takes doubles too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection

from chaos.site.settings import CONFIG
from gemini_webhooks import RetryLater
from gemini_webhooks.receivers import non_atomic, on
from gemini_webhooks.signals import result_ready

LEASE_SECONDS = 60
#: Where receivers that take long leave the number of their process while they work.
BUSY = Path(CONFIG["busy"])


def write(event: Any, receiver: str) -> None:
    """The effect that has to be there once."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chaos_effect (webhook_id, receiver) VALUES (%s, %s)", [event.id, receiver]
        )


def is_first(delivery: Any, receiver: str) -> bool:
    """Whether no attempt of this run has ended before."""
    return not delivery.runs.get(receiver=receiver).attempt_log.exists()


@on("interaction.completed", name="plain")
@on("interaction.failed", name="plain-too")
def plain(event: Any, **_: Any) -> None:
    """Nothing but a row."""
    write(event, "plain" if event.type == "interaction.completed" else "plain-too")


@on("interaction.failed", name="flaky")
def flaky(event: Any, delivery: Any, **_: Any) -> None:
    """Write, then fail: the row has to go with the attempt."""
    write(event, "flaky")
    if is_first(delivery, "flaky"):
        raise ValueError("the first time")


@on("batch.cancelled", name="postponed")
def postponed(event: Any, delivery: Any, **_: Any) -> None:
    """Write, then ask to be called later: the row has to go likewise."""
    write(event, "postponed")
    if is_first(delivery, "postponed"):
        raise RetryLater(1)


@on("interaction.cancelled", name="asynchronous")
async def asynchronous(event: Any, **_: Any) -> None:
    """A coroutine."""
    await sync_to_async(write)(event, "asynchronous")


@on("interaction.requires_action", name="slow")
def slow(event: Any, **_: Any) -> None:
    """Write, then work for up to twice the lease, which has to be renewed meanwhile."""
    write(event, "slow")
    part = sum(event.id.encode()) % 4  # the same for each attempt
    with busy(event.id):
        time.sleep(LEASE_SECONDS * CONFIG["scale"] * (2 if part == 0 else 0.2 * part))


@on("batch.failed", name="outside")
@non_atomic
def outside(event: Any, **_: Any) -> None:
    """What the documentation says for effects outside a transaction: a key of id and receiver."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO chaos_call (webhook_id) VALUES (%s)", [event.id])
        cursor.execute(
            "INSERT INTO chaos_keyed (key) VALUES (%s) ON CONFLICT DO NOTHING",
            [f"{event.id}/outside"],
        )


@on("batch.succeeded", name="announced")
def announced(event: Any, **_: Any) -> None:
    """Does not wait for the result file."""
    write(event, "announced")


def harvested(event: Any, result: Any, **_: Any) -> None:
    """Read the whole result file."""
    read = sum(1 for _ in result.rows())
    if read != result.rows or not read:
        raise ValueError(f"{read} rows instead of {int(result.rows)}")
    write(event, "result_ready:harvested")


result_ready.connect(harvested, dispatch_uid="harvested")


@contextmanager
def busy(webhook_id: str) -> Iterator[None]:
    """Show what this process is in the middle of."""
    mark = BUSY / str(os.getpid())
    mark.write_text(webhook_id)
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
