"""What a site does with Gemini, and what others try with the site."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from google.genai import Client
from google.genai.types import HttpOptions

from example_project.demo.errors import DemoFailed
from gemini_webhooks.emulator.resources import new_id
from gemini_webhooks.emulator.signing import hmac_signature, new_secret

MODEL = "gemini-2.5-flash"
CALL_TIMEOUT_MS = 10_000


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch that was submitted.

    Attributes:
        label: what the timeline calls it.
        name: as Google calls it, ``batches/…``.
        keys: one for each request.
        tenant: what its metadata says, empty if there is none.
        signing: how its event is to be signed.
    """

    label: str
    name: str
    keys: tuple[str, ...]
    tenant: str
    signing: str

    @property
    def resource_id(self) -> str:
        """As events call it."""
        return self.name.removeprefix("batches/")


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """A request that nobody at Google sent, and its answer."""

    webhook_id: str
    status: int
    answer: str


def submit(
    label: str,
    count: int,
    *,
    webhook_config: Mapping[str, Any] | None = None,
    tenant: str = "",
) -> Batch:
    """Start a batch with the official client; with ``webhook_config`` its event is dynamic."""
    keys = tuple(f"{label}-{number:03}" for number in range(1, count + 1))
    requests = [
        {
            "contents": [{"role": "user", "parts": [{"text": f"Write a caption for {key}."}]}],
            "metadata": {"key": key},
        }
        for key in keys
    ]
    config: dict[str, Any] = {"display_name": label}
    if webhook_config:
        config["webhook_config"] = webhook_config
    options = HttpOptions(timeout=CALL_TIMEOUT_MS)
    client = Client(api_key=os.environ["GEMINI_API_KEY"], vertexai=False, http_options=options)
    made: Any = client.batches.create(model=MODEL, src=requests, config=config)  # type: ignore[arg-type]  # plain dicts are taken, too
    if not made.name:
        raise DemoFailed("The Gemini API gave the batch no name.")
    return Batch(
        label=label,
        name=made.name,
        keys=keys,
        tenant=tenant,
        signing="jwt" if webhook_config else "hmac",
    )


def forge(uri: str) -> Forgery:
    """Send what looks like an event, signed with a secret that the site does not have."""
    webhook_id, timestamp = new_id("msg_forged_"), int(time.time())
    body = b'{"type": "batch.succeeded", "version": "v1", "data": {"id": "batch_forged"}}'
    signature = hmac_signature(new_secret(), webhook_id, timestamp, body)
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }
    parts = urlsplit(uri)
    connection = HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("POST", parts.path, body, headers)
        response = connection.getresponse()
        answer = response.read().decode(errors="replace")
    finally:
        connection.close()
    return Forgery(webhook_id=webhook_id, status=response.status, answer=answer)
