"""Google's signatures, made with keys of this process, and the key set that goes with them."""

from __future__ import annotations

import base64
import io
import json
import os
import time
from collections.abc import Mapping
from functools import cached_property, lru_cache
from secrets import token_hex
from typing import Any
from urllib.request import Request

import jwt

from gemini_webhooks import endpoints
from gemini_webhooks.conf import GOOGLE_API, settings
from gemini_webhooks.deliveries import rows
from gemini_webhooks.emulator.signing import SECRET_PREFIX, SigningKey, hmac_signature, new_secret
from gemini_webhooks.models import SigningSecret, WebhookEndpoint
from gemini_webhooks.registration import secrets

#: What root deliveries are signed with, beside whatever the site has configured.
ROOT_SECRET = new_secret()
AUDIENCE = "gemini-webhooks-testing"
TOKEN_SECONDS = 3600


class KeySetDouble:
    """A key, and the key set that verifies its tokens, at an address that nobody has.

    It stands in for the opener of :mod:`gemini_webhooks.verification.jwks`.
    """

    def __init__(self) -> None:
        self.url = f"https://jwks.invalid/{token_hex(16)}"

    @cached_property
    def key(self) -> SigningKey:
        """Made when it is first needed: it takes a moment."""
        return SigningKey()

    @property
    def keys(self) -> dict[str, Any]:
        """The key set (RFC 7517)."""
        return {"keys": [self.key.as_json()]}

    def token(self, claims: Mapping[str, Any]) -> str:
        """A signed JWT with these claims."""
        headers = {"kid": self.key.id}
        return jwt.encode(dict(claims), self.key.private, algorithm="RS256", headers=headers)

    def open(self, request: Request, timeout: float) -> io.BytesIO:  # noqa: ARG002  # as urllib has it
        """Answer without a connection."""
        if request.full_url != self.url:
            raise OSError(f"{request.full_url} is not fetched in a test")
        return io.BytesIO(json.dumps(self.keys).encode())


def key_set() -> KeySetDouble:
    """The one of this process: processes that were forked may share a cache."""
    return _key_set_of(os.getpid())


@lru_cache(maxsize=1)
def _key_set_of(process: int) -> KeySetDouble:  # noqa: ARG001  # the key of the cache
    return KeySetDouble()


def static_headers(
    webhook_id: str, body: bytes, *, endpoint: WebhookEndpoint | None, age: float
) -> dict[str, str]:
    """The headers of a static webhook, signed with a secret that holds at its address."""
    timestamp = int(time.time() - age)
    signature = hmac_signature(_secret_of(endpoint), webhook_id, timestamp, body)
    return _headers(webhook_id, timestamp, signature)


def dynamic_headers(
    webhook_id: str, body: bytes, *, endpoint: WebhookEndpoint | None, age: float
) -> dict[str, str]:
    """The headers of a dynamic webhook: a token whose claims are the event."""
    timestamp = int(time.time() - age)
    audiences = endpoint.audiences if endpoint else settings.AUDIENCES
    claims: dict[str, Any] = {
        "iss": next(iter(settings.ISSUERS), GOOGLE_API),
        "aud": next(iter(audiences), AUDIENCE),
        "iat": timestamp,
        "exp": timestamp + TOKEN_SECONDS,
        **json.loads(body),
    }
    return _headers(webhook_id, timestamp, key_set().token(claims))


def _headers(webhook_id: str, timestamp: int, signature: str) -> dict[str, str]:
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }


def _secret_of(endpoint: WebhookEndpoint | None) -> str:
    """The newest secret of ``endpoint``; it gets one if it has none."""
    if endpoint is None:
        return ROOT_SECRET
    stored = endpoints.valid_now(rows(SigningSecret).filter(endpoint=endpoint)).first()
    if stored is None:
        stored = secrets.store(endpoint, new_secret())
    return SECRET_PREFIX + base64.b64encode(endpoints.opened(stored).key).decode()
