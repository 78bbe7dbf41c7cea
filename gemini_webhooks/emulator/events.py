"""Which event goes to whom."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gemini_webhooks.emulator.messages import Message
from gemini_webhooks.emulator.registered import Webhook
from gemini_webhooks.emulator.resources import Job, iso, new_id, now
from gemini_webhooks.emulator.state import Emulator


def announce(emulator: Emulator, job: Job, event_type: str, data: Mapping[str, Any]) -> None:
    """Tell the URIs of the job, or else the enabled webhooks of its project that want the type."""
    config = job.webhook_config
    if config.user_metadata is not None and config.uris:
        data = {**data, "user_metadata": config.user_metadata}
    event = _envelope(event_type, data)
    for number, recipient in enumerate(_recipients(emulator, job, event_type)):
        _post(emulator, recipient, event, webhook_id=_id(job, recipient, number), job=job)


def ping(emulator: Emulator, webhook: Webhook) -> None:
    """Send a test event; Google does not document its shape."""
    event = _envelope("webhook.ping", {"id": webhook.id})
    _post(emulator, webhook, event, webhook_id=new_id("msg_"))


def _recipients(emulator: Emulator, job: Job, event_type: str) -> list[Webhook | str]:
    if job.webhook_config.uris:
        return list(job.webhook_config.uris)
    return [
        webhook
        for webhook in emulator.webhooks
        if webhook.project == job.project
        and webhook.receives
        and event_type in webhook.subscribed_events
    ]


def _id(job: Job, recipient: Webhook | str, number: int) -> str:
    """The same when a job ends once more, after a restart that did not know that it had."""
    # A job may name the same URI twice.
    whose = recipient.id if isinstance(recipient, Webhook) else f"{recipient} {number}"
    return f"msg_{hashlib.sha256(f'{job.id} {whose}'.encode()).hexdigest()[:16]}"


def _envelope(event_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": event_type, "version": "v1", "timestamp": iso(now()), "data": dict(data)}


def _post(
    emulator: Emulator,
    recipient: Webhook | str,
    event: Mapping[str, Any],
    *,
    webhook_id: str,
    job: Job | None = None,
) -> None:
    message = Message(
        webhook_id=webhook_id,
        recipient=recipient,
        event_type=event["type"],
        resource_id=job.id if job else "",
        body=json.dumps(event, separators=(",", ":")).encode(),
    )
    emulator.outbox.post(message)
