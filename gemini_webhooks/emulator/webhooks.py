"""WebhookService."""

from __future__ import annotations

from typing import Any

from gemini_webhooks.emulator import events
from gemini_webhooks.emulator.dispatch import Call, view
from gemini_webhooks.emulator.errors import invalid
from gemini_webhooks.emulator.resources import Webhook
from gemini_webhooks.emulator.signing import new_secret
from gemini_webhooks.emulator.transport import is_target


def create(call: Call) -> dict[str, Any]:
    """Register a webhook; the only answer that has the whole secret."""
    given = call.json()
    uri, subscribed = given.get("uri"), given.get("subscribed_events")
    if not is_target(uri):
        raise invalid("uri must be an absolute http or https URI.")
    if not isinstance(subscribed, list) or not subscribed:
        raise invalid("subscribed_events must name at least one event.")
    webhook = Webhook(
        name=str(given.get("name") or ""),
        uri=str(uri),
        subscribed_events=[str(name) for name in subscribed],
        secret=new_secret(),
    )
    call.emulator.webhooks.add(webhook)
    return {**webhook.as_json(), "new_signing_secret": webhook.secret}


def index(call: Call) -> dict[str, Any]:
    """One page of webhooks."""
    page, token = call.page(call.emulator.webhooks, size=50, limit=1000)
    answer: dict[str, Any] = {"webhooks": [webhook.as_json() for webhook in page]}
    return {**answer, "next_page_token": token} if token else answer


def show(call: Call, webhook_id: str) -> dict[str, Any]:
    """One webhook."""
    return call.emulator.webhooks.get(webhook_id).as_json()


def delete(call: Call, webhook_id: str) -> dict[str, Any]:
    """Unregister a webhook."""
    call.emulator.webhooks.remove(webhook_id)
    return {}


def ping(call: Call, webhook_id: str) -> dict[str, Any]:
    """Send a test event."""
    events.ping(call.emulator, call.emulator.webhooks.get(webhook_id))
    return {}


collection = view(GET=index, POST=create)
resource = view(GET=show, DELETE=delete)
pinging = view(POST=ping)
