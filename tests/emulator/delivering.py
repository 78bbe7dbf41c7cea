"""Jobs and webhooks over plain HTTP, and verifiers that are not ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import jwt
import pytest

from tests.emulator.conftest import KEY, MODEL, Received, Wire

standardwebhooks = pytest.importorskip("standardwebhooks")

EVENTS = ["interaction.completed"]


def register(wire: Wire, uri: str) -> tuple[str, str]:
    """A webhook's id and its secret."""
    status, _, made = wire.post("/v1/webhooks", {"uri": uri, "subscribed_events": EVENTS}, key=KEY)
    assert status == 200, made
    return made["id"], made["new_signing_secret"]


def ask(wire: Wire, *uris: str, **metadata: Any) -> str:
    """Start an interaction that is over soon; return its id."""
    job: dict[str, Any] = {"model": MODEL, "input": "a", "background": True}
    if uris:
        job["webhook_config"] = {"uris": list(uris), "user_metadata": metadata}
    status, _, made = wire.post("/v1/interactions", job, key=KEY)
    assert status == 200, made
    return made["id"]


def switch(wire: Wire, **values: Any) -> None:
    status, _, answer = wire.post("/emulator/switches", values)
    assert status == 200, answer


def idle(wire: Wire) -> None:
    assert wire.server.emulator.outbox.wait_idle(20)


def claims_of(wire: Wire, received: Received, audience: str) -> dict[str, Any]:
    """What the token says, once PyJWT believes it."""
    token = received.headers["webhook-signature"]
    keys = jwt.PyJWKClient(f"{wire.server.url}/.well-known/jwks.json", timeout=5)
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=["RS256"], audience=audience)


def verifies(secret: str, received: Received) -> bool:
    try:
        standardwebhooks.Webhook(secret).verify(received.body, received.headers, json_parse=False)
    except standardwebhooks.WebhookVerificationError:
        return False
    return True


def is_signed(secret: str, received: Received) -> bool:
    """The same for bodies that are no text, which that library does not take."""
    headers = received.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == f"v1,{expected}"


def ids(got: list[Received]) -> list[str]:
    return [received.headers["webhook-id"] for received in got]
