"""What the token of a dynamic webhook says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gemini_webhooks.emulator.options import Token

ISSUER = "https://generativelanguage.googleapis.com"
TOKEN_SECONDS = 3600


def claims(
    token: Token, *, audience: str, timestamp: int, webhook_id: str, body: bytes
) -> dict[str, Any]:
    """The claims of one delivery.

    Args:
        token: what they vouch for.
        audience: ``aud``.
        timestamp: Unix seconds of ``iat``; it expires an hour later.
        webhook_id: of the delivery.
        body: as it is sent.

    Raises:
        ValueError: the token is to vouch for an event, and the body is not a JSON object.
    """
    return {
        "iss": ISSUER,
        "aud": audience,
        "iat": timestamp,
        "exp": timestamp + TOKEN_SECONDS,
        **_bound(token, webhook_id, body),
    }


def _bound(token: Token, webhook_id: str, body: bytes) -> Mapping[str, Any]:
    match token:
        case "event":
            event = json.loads(body)
            if not isinstance(event, dict):
                raise ValueError("The body is not a JSON object.")  # noqa: TRY004  # the documented one
            return event
        case "body":
            return {"body_sha256": hashlib.sha256(body).hexdigest()}
        case "webhook_id":
            return {"webhook_id": webhook_id}
        case "unbound":
            return {}
