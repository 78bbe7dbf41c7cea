"""Several sweeps at the same time share the work and never wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from gemini_webhooks import clock, processing, receivers
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery
from gemini_webhooks.results import claims
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


def handed_on() -> bool:
    return bool(processing.sweep().handoffs)


def test_run_that_only_waits_gets_fewer_and_fewer_messages(
    database: str, static: StaticSender
) -> None:
    receivers.on("batch.failed", name="slow")(lambda **_: None)
    static.post(static.envelope("batch.failed"))
    processing.plan(WebhookDelivery.objects.get().pk)
    runs = ReceiverRun.objects.using(database)
    graces = []
    for _ in range(7):
        grace = 30
        while not handed_on():
            grace *= 2
            runs.update(next_attempt_at=clock.after(-grace - 1))
        graces.append(grace)

    assert graces == [60, 120, 240, 480, 960, 960, 960]
    processing.run(runs.get().pk)
    assert runs.get().sweeps == 0


def test_delivery_that_only_waits_gets_fewer_and_fewer_messages(
    database: str, static: StaticSender
) -> None:
    static.post()
    deliveries = WebhookDelivery.objects.using(database)
    graces = []
    for age in (61, 299, 301, 1799, 1801, 86400):
        deliveries.update(sweep_at=clock.after(-1), received_at=clock.after(-age))
        assert handed_on()
        graces.append(round((deliveries.get().sweep_at - clock.now()).total_seconds(), -1))

    assert graces == [60, 60, 300, 300, 900, 900]


def test_result_that_is_tried_anew_has_its_first_grace_again(
    database: str, static: StaticSender
) -> None:
    static.post()
    delivery = WebhookDelivery.objects.using(database).get()
    result = ResultFile.objects.using(database).create(
        delivery=delivery, source_uri="gs://bucket/out", next_attempt_at=clock.after(-1), sweeps=4
    )

    assert claims.take(result.pk) is not None
    assert ResultFile.objects.using(database).get().sweeps == 0
