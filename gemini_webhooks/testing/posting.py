"""The way in: through the site's URLs and its view, or past them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import NoReverseMatch, reverse

from gemini_webhooks import deliveries, events, ingest
from gemini_webhooks.exceptions import Rejected, Undecided
from gemini_webhooks.ingest import Receipt
from gemini_webhooks.models import WebhookEndpoint
from gemini_webhooks.testing import signatures, stage
from gemini_webhooks.verification import IncomingRequest, VerifiedRequest

SIGNATURES: Mapping[str, Callable[..., dict[str, str]]] = {
    "hmac": signatures.static_headers,
    "jwt": signatures.dynamic_headers,
}


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is posted, and where.

    Attributes:
        webhook_id: the same on every retry.
        body: what is signed.
        slug: of the endpoint; empty for the root endpoint.
        endpoint: its row, if there is one.
        age: seconds since it was signed.
        tamper: change the body after it was signed.
    """

    webhook_id: str
    body: bytes = field(repr=False)
    slug: str = ""
    endpoint: WebhookEndpoint | None = None
    age: float = 0
    tamper: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How the site answered; see :class:`gemini_webhooks.testing.seen.Seen`."""

    status_code: int | None
    answer: dict[str, str]
    diagnosis: str = ""
    delivery_id: int | None = None


def post(message: Message, signing: str, client: Client) -> Answer:
    """Sign a message and post it.

    Raises:
        ImproperlyConfigured: the site's URLs do not include those of this app.
    """
    path, view = _path(message.slug), _View(ingest.receive)
    with stage.receiving(), patch.object(ingest, "receive", view):
        headers = SIGNATURES[signing](
            message.webhook_id, message.body, endpoint=message.endpoint, age=message.age
        )
        response = client.post(
            path,
            data=_tampered(message.body) if message.tamper else message.body,
            content_type="application/json",
            headers=headers,
            secure=True,  # as Google does; a site may redirect anything else
        )
    return Answer(
        status_code=response.status_code,
        answer=_json(response),
        diagnosis=view.diagnosis or _not_ours(response, view),
        delivery_id=view.delivery_id,
    )


def trust(message: Message) -> Answer:
    """Store a message as if it had been verified.

    Raises:
        ValueError: there is no such endpoint.
    """
    if message.slug and message.endpoint is None:
        raise ValueError(f"there is no endpoint “{message.slug}”: create it before")
    verified = VerifiedRequest(webhook_id=message.webhook_id, body=message.body, signing="none")
    recorded = deliveries.record(
        verified,
        events.parse(verified),
        endpoint_id=message.endpoint.pk if message.endpoint else None,
        received_at=datetime.now(UTC),
        hand_off_now=True,
    )
    return Answer(
        status_code=None,
        answer={"status": "accepted" if recorded.created else "duplicate"},
        delivery_id=recorded.delivery_id,
    )


class _View:
    """Stands in front of ``ingest.receive`` and sees what it says beyond the answer."""

    def __init__(self, receive: Callable[..., Receipt]) -> None:
        self._receive = receive
        self.was_asked = False
        self.diagnosis = ""
        self.delivery_id: int | None = None

    def __call__(self, request: IncomingRequest, slug: str | None = None) -> Receipt:
        self.was_asked = True
        try:
            receipt = self._receive(request, slug)
        except Rejected as refusal:
            self.diagnosis = refusal.diagnosis
            raise
        except Undecided as refusal:
            self.diagnosis = str(refusal).removeprefix(f"{refusal.code}: ")
            raise
        self.delivery_id = receipt.delivery_id
        return receipt


def _path(slug: str) -> str:
    try:
        if not slug:
            return reverse("gemini_webhooks:receive")
        return reverse("gemini_webhooks:receive-endpoint", kwargs={"slug": slug})
    except NoReverseMatch:
        raise ImproperlyConfigured(
            "The URLs of gemini_webhooks are not in ROOT_URLCONF. Add "
            'path("webhooks/gemini/", include("gemini_webhooks.urls")), or deliver with '
            'signing="trusted", which needs none.'
        ) from None


def _tampered(body: bytes) -> bytes:
    """Another job's, which the signature does not cover."""
    envelope = json.loads(body)
    envelope["data"]["id"] = f"{envelope['data'].get('id')}-tampered"
    return json.dumps(envelope).encode()


def _json(response: Any) -> dict[str, str]:
    try:
        found: Any = json.loads(response.content)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"error": "not_json"}


def _not_ours(response: Any, view: _View) -> str:
    if view.was_asked or response.headers.get("Content-Type") == "application/json":
        return ""
    place = response.headers.get("Location")
    return (
        f"the answer{f', which leads to {place},' if place else ''} is not from gemini_webhooks: "
        "does a middleware answer before it, or another URL pattern?"
    )
