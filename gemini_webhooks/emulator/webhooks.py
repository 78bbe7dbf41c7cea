"""WebhookService."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from gemini_webhooks.emulator import events
from gemini_webhooks.emulator.dispatch import Call, view
from gemini_webhooks.emulator.errors import invalid
from gemini_webhooks.emulator.resources import Secret, Webhook, now
from gemini_webhooks.emulator.signing import new_secret
from gemini_webhooks.emulator.transport import is_target

AFTER_GRACE = "revoke_previous_secrets_after_h24"
AT_ONCE = "revoke_previous_secrets_immediately"


def create(call: Call) -> dict[str, Any]:
    """Register a webhook; the only answer that has the whole secret."""
    given = {"uri": None, "subscribed_events": None, **call.json()}
    secret = new_secret()
    webhook = Webhook(
        name=_name(given.get("name")),
        uri=_uri(given["uri"]),
        subscribed_events=_events(given["subscribed_events"]),
        secrets=[Secret(value=secret)],
    )
    call.emulator.webhooks.add(webhook)
    return {**webhook.as_json(), "new_signing_secret": secret}


def index(call: Call) -> dict[str, Any]:
    """One page of webhooks."""
    page, token = call.page(call.emulator.webhooks, size=50, limit=1000)
    answer: dict[str, Any] = {"webhooks": [webhook.as_json() for webhook in page]}
    return {**answer, "next_page_token": token} if token else answer


def show(call: Call, webhook_id: str) -> dict[str, Any]:
    """One webhook."""
    return call.emulator.webhooks.get(webhook_id).as_json()


def update(call: Call, webhook_id: str) -> dict[str, Any]:
    """Change what the body names, or of that what ``update_mask`` names."""
    webhook = call.emulator.webhooks.get(webhook_id)
    given = call.json()
    mask = call.request.GET.get("update_mask") or call.request.GET.get("updateMask")
    if mask:
        wanted = {name.strip() for name in mask.split(",")}
        given = {name: value for name, value in given.items() if name in wanted}
    unknown = given.keys() - READERS.keys()
    if unknown:
        raise invalid(f"{', '.join(sorted(unknown))} cannot be updated.")
    changes = {name: READERS[name](value) for name, value in given.items()}
    for name, value in changes.items():
        setattr(webhook, name, value)
    webhook.updated = now()
    return webhook.as_json()


def rotate(call: Call, webhook_id: str) -> dict[str, Any]:
    """Make a new secret; the old ones end at once, or after the grace."""
    webhook = call.emulator.webhooks.get(webhook_id)
    behaviour = str(call.json().get("revocation_behavior") or AFTER_GRACE).lower()
    if behaviour not in (AFTER_GRACE, AT_ONCE):
        raise invalid(f"revocation_behavior must be {AFTER_GRACE} or {AT_ONCE}.")
    moment = now()
    grace = timedelta(seconds=call.emulator.options.grace_seconds)
    end = moment if behaviour == AT_ONCE else moment + grace
    for old in webhook.secrets:
        old.expires = min(old.expires or end, end)
    secret = new_secret()
    webhook.secrets.insert(0, Secret(value=secret))
    webhook.updated = moment
    return {"secret": secret}


def delete(call: Call, webhook_id: str) -> dict[str, Any]:
    """Unregister a webhook."""
    call.emulator.webhooks.remove(webhook_id)
    return {}


def ping(call: Call, webhook_id: str) -> dict[str, Any]:
    """Send a test event."""
    events.ping(call.emulator, call.emulator.webhooks.get(webhook_id))
    return {}


def _name(value: Any) -> str:
    return str(value or "")


def _uri(value: Any) -> str:
    if not is_target(value):
        raise invalid("uri must be an absolute http or https URI.")
    return str(value)


def _events(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise invalid("subscribed_events must name at least one event.")
    return [str(name) for name in value]


def _state(value: Any) -> str:
    if value not in ("enabled", "disabled"):
        raise invalid("state must be enabled or disabled.")
    return str(value)


READERS: dict[str, Callable[[Any], Any]] = {
    "name": _name,
    "uri": _uri,
    "subscribed_events": _events,
    "state": _state,
}

collection = view(GET=index, POST=create)
resource = view(GET=show, PATCH=update, DELETE=delete)
pinging = view(POST=ping)
rotating = view(POST=rotate)
