"""Starting jobs whose end this site is to hear of, and the ledger of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.urls import NoReverseMatch, reverse

from gemini_webhooks import clock, seals
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import rows
from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.models import Job, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.storable import storable

#: Google ends a batch that was not processed in time after 24 h (guide) or 48 h (SDK).
DUE_AFTER = timedelta(hours=24)


def webhook_config(
    user_metadata: Mapping[str, Any] | None = None,
    *,
    endpoint: WebhookEndpoint | str | None = None,
) -> dict[str, Any]:
    """Return what the SDK takes as ``webhook_config``: our URI and sealed metadata.

    The seal is what proves, when the event comes, that this site started the job: anybody with
    a Gemini API key can name our URI in a job of his own.

    Args:
        user_metadata: a JSON object that comes back as ``event.user_metadata``.
        endpoint: the registered endpoint, or its slug, to deliver to; by default the root one.

    Raises:
        ConfigurationError: ``PUBLIC_BASE_URL`` is not set, or the URLs are not included.
        TypeError, ValueError: ``user_metadata`` is not a JSON object.
    """
    slug = endpoint.slug if isinstance(endpoint, WebhookEndpoint) else endpoint or ""
    stored_uri = endpoint.uri if isinstance(endpoint, WebhookEndpoint) else ""
    return {
        "uris": [stored_uri or public_uri(slug)],
        "user_metadata": seals.seal_metadata(user_metadata or {}, endpoint=slug),
    }


def public_uri(slug: str = "") -> str:
    """The address that Google is to call: of the root endpoint, or of the one named ``slug``.

    Raises:
        ConfigurationError: ``PUBLIC_BASE_URL`` is not set, or the URLs are not included.
    """
    base = settings.PUBLIC_BASE_URL
    if not base or not urlsplit(base).netloc:
        raise ConfigurationError(
            'Set GEMINI_WEBHOOKS["PUBLIC_BASE_URL"] to this site\'s public address, for example '
            '"https://app.example.com": Google has to be told where to deliver.'
        )
    try:
        if not slug:
            return urljoin(base, reverse("gemini_webhooks:receive"))
        path = reverse("gemini_webhooks:receive-endpoint", kwargs={"slug": slug})
    except NoReverseMatch:
        raise ConfigurationError(
            f"No URL for {slug or 'the root endpoint'}: is "
            'path("webhooks/gemini/", include("gemini_webhooks.urls")) in the URLconf?'
        ) from None
    return urljoin(base, path)


def track(
    resource: Any,
    *,
    user_metadata: Mapping[str, Any] | None = None,
    api_key_name: str = "default",
    due_at: datetime | None = None,
) -> Job:
    """Enter a job that was just submitted in the ledger.

    Args:
        resource: what the SDK returned: a batch, an interaction or an operation; or its name.
        user_metadata: what was given to :func:`webhook_config`.
        api_key_name: the key in ``API_KEYS`` that it was submitted with.
        due_at: aware time after which its silence is suspicious; 24 h from now by default.

    Raises:
        ValueError: ``resource`` has neither a name nor an id.
    """
    name = resource if isinstance(resource, str) else _name(resource)
    if not name:
        raise ValueError("track() takes a batch, an interaction or an operation, or its name")
    bare = name.rpartition("/")[2]
    job, _ = rows(Job).update_or_create(
        resource_id=bare,
        defaults={
            "kind": _kind(name),
            "user_metadata": storable(dict(user_metadata or {})),
            "api_key_name": api_key_name,
            "due_at": clock.for_database(due_at) if due_at else clock.now() + DUE_AFTER,
        },
    )
    _settle_from_the_past(job, {name, bare})
    return job


def _settle_from_the_past(job: Job, names: set[str]) -> None:
    """A short job's event may have come before the job was entered."""
    came = rows(WebhookDelivery).filter(resource_id__in=names).order_by("-received_at").first()
    known = CATALOGUE.get(came.event_type) if came else None
    if known is None:
        return
    job.state, job.delivery = known.job_state, came
    job.save(update_fields=["state", "delivery"])


def _name(resource: Any) -> str:
    found = getattr(resource, "name", None) or getattr(resource, "id", None)
    return found if isinstance(found, str) else ""


def _kind(name: str) -> Job.Kind:
    if name.startswith("batches/"):
        return Job.Kind.BATCH
    return Job.Kind.OPERATION if "operations/" in name else Job.Kind.INTERACTION
