"""Which event goes to whom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gemini_webhooks.emulator.outbox import Message
from gemini_webhooks.emulator.registered import Webhook
from gemini_webhooks.emulator.resources import Job, iso, new_id, now
from gemini_webhooks.emulator.state import Emulator


def announce(emulator: Emulator, job: Job, event_type: str, data: Mapping[str, Any]) -> None:
    """Tell the URIs of the job, or else the enabled webhooks of its project that want the type."""
    config = job.webhook_config
    if config.user_metadata is not None and config.uris:
        data = {**data, "user_metadata": config.user_metadata}
    event = _envelope(event_type, data)
    if config.uris:
        for uri in config.uris:
            _post(emulator, uri, event)
        return
    for webhook in emulator.webhooks:
        if webhook.project != job.project:
            continue
        if webhook.receives and event_type in webhook.subscribed_events:
            _post(emulator, webhook, event)


def ping(emulator: Emulator, webhook: Webhook) -> None:
    """Send a test event; Google does not document its shape."""
    event = _envelope("webhook.ping", {"id": webhook.id})
    _post(emulator, webhook, event)


def _envelope(event_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": event_type, "version": "v1", "timestamp": iso(now()), "data": dict(data)}


def _post(emulator: Emulator, recipient: Webhook | str, event: Mapping[str, Any]) -> None:
    message = Message(
        webhook_id=new_id("msg_"),
        recipient=recipient,
        event=event,
        body=json.dumps(event, separators=(",", ":")).encode(),
    )
    emulator.outbox.post(message)
