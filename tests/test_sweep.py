"""Several sweeps at the same time share the work and never wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from gemini_webhooks import processing
from gemini_webhooks.models import WebhookDelivery
from tests.conftest import every_database
from tests.senders import StaticSender

pytestmark = every_database


@pytest.fixture
def another_sweep() -> Iterator[ThreadPoolExecutor]:
    """A thread with a database connection of its own."""
    with ThreadPoolExecutor(1) as pool:
        yield pool
        pool.submit(connections.close_all).result()


def swept(limit: int) -> set[int]:
    return {handoff.id for handoff in processing.sweep(limit, everything=True).handoffs}


def test_two_sweeps_take_different_deliveries(
    database: str, static: StaticSender, another_sweep: ThreadPoolExecutor
) -> None:
    if not connections[database].features.has_select_for_update_skip_locked:
        pytest.skip("this database cannot pass over locked rows; its sweeps take turns")
    for number in range(4):
        static.post(webhook_id=f"m{number}")

    with transaction.atomic(using=database):
        stored = set(WebhookDelivery.objects.using(database).values_list("pk", flat=True))
        first = swept(2)
        theirs = another_sweep.submit(swept, 4).result(timeout=10)

    assert len(first) == 2
    # MariaDB may lock more rows than it was asked for; what is left over is for the next sweep.
    assert theirs == stored - first if database == "postgres" else theirs <= stored - first


def test_what_was_swept_is_left_alone_for_a_while(database: str, static: StaticSender) -> None:
    static.post(webhook_id="m")
    WebhookDelivery.objects.using(database).update(sweep_at="2026-01-01T00:00:00Z")

    assert len(processing.sweep().handoffs) == 1
    assert processing.sweep().handoffs == ()
