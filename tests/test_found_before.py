"""The event of a job that the reconciler found before, and knew less about."""

# ruff: noqa: F811  # fixtures of another module are asked for by their names

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("google.genai", reason="needs the extra [genai]")

from gemini_webhooks import deliveries, events, jobs, processing, receivers
from gemini_webhooks.models import ReceiverRun, WebhookDelivery
from gemini_webhooks.reconcile import reconcile
from tests.conftest import every_database
from tests.senders import StaticSender, envelope
from tests.test_reconcile import Site, serve, site  # noqa: F401  # fixtures

METADATA = {"job_group": "nightly"}


@pytest.fixture
def heard() -> dict[str, list[Any]]:
    """What a receiver with, and one without a match on metadata were told."""
    heard: dict[str, list[Any]] = {"nightly": [], "any": []}

    @receivers.on("batch.succeeded", metadata=METADATA, name="nightly")
    def nightly(event: Any, **_: Any) -> None:
        heard["nightly"].append(event.user_metadata)

    @receivers.on("batch.succeeded", name="any")
    def every(event: Any, **_: Any) -> None:
        heard["any"].append(event.user_metadata)

    return heard


def find(resource_id: str) -> WebhookDelivery:
    """A find as a pass stores it that knows no metadata."""
    job = jobs.track(f"batches/{resource_id}")
    body = StaticSender.encode(envelope(id=resource_id))
    verified = deliveries.stored(WebhookDelivery(webhook_id="found", signing="none", body=body))
    deliveries.record_found(verified, events.parse(verified), job=job, hand_off_now=False)
    return WebhookDelivery.objects.get(webhook_id="found")


@every_database
def test_receivers_that_match_on_metadata_run_when_the_event_brings_it(
    database: str, site: Site, heard: dict[str, list[Any]]
) -> None:
    batch = site.untracked(METADATA)
    jobs.track(batch)
    site.wait()
    site.a_day_passes()
    reconcile()
    processing.drain()
    assert heard == {"nightly": [], "any": [{}]}

    site.the_events_come()
    processing.drain()

    assert heard == {"nightly": [METADATA], "any": [{}]}
    delivery = WebhookDelivery.objects.using(database).get()
    assert (delivery.state, delivery.duplicate_count) == ("processed", 1)
    assert delivery.payload["data"]["id"] in batch.name


@every_database
def test_a_worker_that_read_the_find_before_the_event_came_does_not_plan_without_it(
    database: str, static: StaticSender, heard: dict[str, list[Any]]
) -> None:
    find("b1")
    read = deliveries.stored
    came: list[int] = []

    def meanwhile(delivery: WebhookDelivery) -> Any:
        verified = read(delivery)
        if not came:
            came.append(1)
            sent = envelope(id="b1", user_metadata=METADATA)
            assert static.post(sent, webhook_id="real").json() == {"status": "duplicate"}
        return verified

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deliveries, "stored", meanwhile)
        processing.drain()
    processing.drain()  # the next round

    assert heard["nightly"] == [METADATA]
    assert ReceiverRun.objects.using(database).count() == 2


@every_database
def test_event_without_more_changes_nothing_about_the_find(
    database: str, static: StaticSender, heard: dict[str, list[Any]]
) -> None:
    found = find("b1")
    processing.drain()
    static.post(envelope(id="b1"), webhook_id="real")

    found.refresh_from_db()
    assert (found.state, found.duplicate_count, heard["any"]) == ("processed", 1, [{}])
