"""Which event goes to whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gemini_webhooks.emulator.outbox import Message
from gemini_webhooks.emulator.resources import Job, Webhook, iso, new_id, now
from gemini_webhooks.emulator.state import Emulator


def announce(emulator: Emulator, job: Job, event_type: str, data: Mapping[str, Any]) -> None:
    """Tell the URIs of the job, or else every enabled webhook that subscribed to the type."""
    config = job.webhook_config
    if config.user_metadata is not None and config.uris:
        data = {**data, "user_metadata": config.user_metadata}
    event = _envelope(event_type, data)
    if config.uris:
        for uri in config.uris:
            _post(emulator, uri, event, secrets=None)
        return
    for webhook in emulator.webhooks:
        if webhook.state == "enabled" and event_type in webhook.subscribed_events:
            _post(emulator, webhook.uri, event, secrets=webhook.valid_secrets)


def ping(emulator: Emulator, webhook: Webhook) -> None:
    """Send a test event; Google does not document its shape."""
    event = _envelope("webhook.ping", {"id": webhook.id})
    _post(emulator, webhook.uri, event, secrets=webhook.valid_secrets)


def _envelope(event_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": event_type, "version": "v1", "timestamp": iso(now()), "data": dict(data)}


def _post(
    emulator: Emulator,
    uri: str,
    event: Mapping[str, Any],
    *,
    secrets: Callable[[], Sequence[str]] | None,
) -> None:
    message = Message(
        webhook_id=new_id("msg_"),
        target=uri,
        event=event,
        body=json.dumps(event, separators=(",", ":")).encode(),
        secrets=secrets,
    )
    emulator.outbox.post(message)
