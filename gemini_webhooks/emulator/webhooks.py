"""WebhookService."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gemini_webhooks.emulator import events, fields
from gemini_webhooks.emulator.dispatch import Call, view
from gemini_webhooks.emulator.errors import failed_precondition, invalid, not_found
from gemini_webhooks.emulator.registered import Webhook

AFTER_GRACE = "revoke_previous_secrets_after_h24"
IMMEDIATELY = "revoke_previous_secrets_immediately"


def create(call: Call) -> dict[str, Any]:
    """Register a webhook; the only answer but a rotation's that has a whole secret."""
    made = Webhook(project=call.project, **fields.new(call.json()))
    webhook = call.emulator.webhooks.add(made)
    return {**webhook.as_json(), "new_signing_secret": webhook.secrets[0].value}


def index(call: Call) -> dict[str, Any]:
    """One page of the project's webhooks."""
    page, token = call.page(
        call.emulator.webhooks,
        size=50,
        limit=1000,
        only=lambda webhook: webhook.project == call.project,
    )
    answer: dict[str, Any] = {"webhooks": [webhook.as_json() for webhook in page]}
    return {**answer, "next_page_token": token} if token else answer


def show(call: Call, webhook_id: str) -> dict[str, Any]:
    """One webhook."""
    return _get(call, webhook_id).as_json()


def update(call: Call, webhook_id: str) -> dict[str, Any]:
    """Change what the body has, or what the update mask names."""
    webhook = _get(call, webhook_id)
    query = call.request.GET
    mask = query.get("update_mask") or query.get("updateMask") or ""
    webhook.change(fields.changes(call.json(), mask))
    return webhook.as_json()


def rotate(call: Call, webhook_id: str) -> dict[str, Any]:
    """Make a new signing secret, shown only here; without a behaviour the old ones linger."""
    webhook = _get(call, webhook_id)
    behavior = call.json().get("revocation_behavior", AFTER_GRACE)
    options = call.emulator.options
    graces = {AFTER_GRACE: options.real_seconds(options.grace_seconds), IMMEDIATELY: 0}
    # Google's guide writes them in upper case, its SDK in lower case.
    seconds = graces.get(behavior.lower()) if isinstance(behavior, str) else None
    if seconds is None:
        raise invalid(f"revocation_behavior must be {AFTER_GRACE} or {IMMEDIATELY}.")
    return {"secret": webhook.rotate(grace=timedelta(seconds=seconds)).value}


def delete(call: Call, webhook_id: str) -> dict[str, Any]:
    """Unregister a webhook."""
    call.emulator.webhooks.remove(_get(call, webhook_id).id).deleted = True
    return {}


def ping(call: Call, webhook_id: str) -> dict[str, Any]:
    """Send a test event; nothing is sent to a webhook that is switched off."""
    webhook = _get(call, webhook_id)
    if not webhook.receives:
        raise failed_precondition(f"The webhook is {webhook.state}: enable it first.")
    events.ping(call.emulator, webhook)
    return {}


def _get(call: Call, webhook_id: str) -> Webhook:
    """The webhook; one of another project is not found."""
    webhook = call.emulator.webhooks.get(webhook_id)
    if webhook.project != call.project:
        raise not_found(f"Webhook '{webhook_id}'")
    return webhook


collection = view(GET=index, POST=create)
resource = view(GET=show, PATCH=update, DELETE=delete)
pinging = view(POST=ping)
rotating = view(POST=rotate)
