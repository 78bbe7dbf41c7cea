"""Starting jobs: the config that the SDK takes, and the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from gemini_webhooks import jobs
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.models import Job, WebhookDelivery, WebhookEndpoint
from tests.senders import StaticSender

sqlite = pytest.mark.django_db(transaction=True)
NAIVE = datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def test_config_names_our_address_and_carries_the_metadata(configured: dict[str, Any]) -> None:
    config = jobs.webhook_config({"tenant": "acme"})

    assert config["uris"] == ["https://site.example/webhooks/gemini/"]
    assert config["user_metadata"]["tenant"] == "acme"
    assert set(config) == {"uris", "user_metadata"}


@sqlite
def test_config_for_an_endpoint(configured: dict[str, Any]) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="acme", uri="https://eu.site.example/in/acme/")

    assert jobs.webhook_config(endpoint=endpoint)["uris"] == ["https://eu.site.example/in/acme/"]
    [uri] = jobs.webhook_config(endpoint="acme")["uris"]
    assert uri.rstrip("/") == "https://site.example/webhooks/gemini/acme"


def test_config_without_public_address_says_what_to_set(configured: dict[str, Any]) -> None:
    del configured["PUBLIC_BASE_URL"]

    with pytest.raises(ConfigurationError, match="PUBLIC_BASE_URL"):
        jobs.webhook_config()


def test_config_without_urls_says_what_to_include(
    configured: dict[str, Any], settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.urls_empty"

    with pytest.raises(ConfigurationError, match="include"):
        jobs.webhook_config()


@pytest.mark.parametrize("metadata", [{"a": object()}, {1: 2, "b": {3}}, ["list"]])
def test_metadata_that_is_no_json_is_refused(configured: dict[str, Any], metadata: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        jobs.webhook_config(metadata)


@sqlite
@pytest.mark.parametrize(
    ("resource", "resource_id", "kind"),
    [
        (SimpleNamespace(name="batches/b1"), "b1", "batch"),
        (SimpleNamespace(id="int_1"), "int_1", "interaction"),
        (SimpleNamespace(name="models/veo/operations/op1"), "op1", "operation"),
        ("batches/b2", "b2", "batch"),
    ],
)
def test_track(resource: Any, resource_id: str, kind: str) -> None:
    job = jobs.track(resource, user_metadata={"tenant": "acme"})

    job.refresh_from_db()
    assert (job.resource_id, job.kind, job.state) == (resource_id, kind, "submitted")
    assert job.user_metadata == {"tenant": "acme"}
    due_in = job.due_at - timezone.now()
    assert timedelta(hours=23) < due_in <= timedelta(hours=24)


@sqlite
def test_track_twice_is_one_job() -> None:
    due = datetime(2027, 1, 1, tzinfo=UTC)
    jobs.track("batches/b1")
    jobs.track("batches/b1", due_at=due)

    assert Job.objects.get().due_at == due


@sqlite
def test_track_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="track"):
        jobs.track(SimpleNamespace())


@sqlite
@pytest.mark.parametrize("due_at", [timedelta(hours=1), "tomorrow", NAIVE], ids=str)
def test_track_takes_an_aware_time_only(due_at: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="due_at"):
        jobs.track("batches/b1", due_at=due_at)

    assert not Job.objects.exists()


@sqlite
def test_track_of_a_job_that_has_ended_leaves_it_ended() -> None:
    """Its delivery may have been removed since."""
    jobs.track("batches/b1")
    Job.objects.update(state="succeeded")

    assert jobs.track("batches/b1").state == "succeeded"
    assert Job.objects.get().state == "succeeded"


@sqlite
@pytest.mark.parametrize(
    ("event_type", "state"),
    [
        ("batch.succeeded", "succeeded"),
        ("batch.failed", "failed"),
        ("batch.cancelled", "cancelled"),
        ("batch.expired", "expired"),
    ],
)
@pytest.mark.parametrize("sent_id", ["batch_123456", "batches/batch_123456"])
def test_event_settles_its_job(
    static: StaticSender, event_type: str, state: str, sent_id: str
) -> None:
    jobs.track("batches/batch_123456")
    jobs.track("batches/other")

    static.post(static.envelope(event_type, id=sent_id))
    call_command("gemini_webhooks", "drain")

    job = Job.objects.get(resource_id="batch_123456")
    assert (job.state, job.delivery) == (state, WebhookDelivery.objects.get())
    assert Job.objects.get(resource_id="other").state == "submitted"
