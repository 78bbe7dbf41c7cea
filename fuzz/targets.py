"""What is fuzzed: one function per parser, each with the errors that it may raise."""

from __future__ import annotations

import base64
import hashlib
import hmac as standard_hmac
import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.cache import cache

from gemini_webhooks import events, seals
from gemini_webhooks.exceptions import ConfigurationError, Malformed, Unauthorised, Undecided
from gemini_webhooks.storable import storable
from gemini_webhooks.verification import (
    IncomingRequest,
    KeySet,
    SignedHeaders,
    SigningKey,
    TokenRules,
    VerifiedRequest,
    hmac,
    jwks,
    jwt,
    parse_secret,
    read_headers,
    secret_hint,
)

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
KEY = bytes(range(32))
PRIVATE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RULES = TokenRules(audiences=("us",))


class OneKey(KeySet):
    """A key set with one key, which needs no server."""

    def __init__(self) -> None:
        super().__init__("https://keys.example", cache_seconds=1, timeout_seconds=1)

    def find(self, key_id: str) -> Any:
        """The one key, under whatever id."""
        return PRIVATE_KEY.public_key()


@dataclass(frozen=True)
class Opener:
    """Stands in for the one that asks the key set's server."""

    answer: bytes

    def open(self, *_: object, **__: object) -> io.BytesIO:
        """Answer."""
        return io.BytesIO(self.answer)


def headers(data: bytes) -> None:
    """Three header values, parted by NUL."""
    texts = [part.decode("latin-1") for part in data.split(b"\0", 2)]
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    request = IncomingRequest(
        headers=dict(zip(names, texts, strict=False)), body=b"", received_at=NOW
    )
    with suppress(Malformed):
        read = read_headers(request, tolerance_seconds=300)
        assert [read.webhook_id, str(read.timestamp), read.signature] == texts
        assert abs(read.timestamp - SECONDS) <= 300
        assert "," in read.signature or read.is_token


def signatures(data: bytes) -> None:
    """A signature header and a body, parted by NUL."""
    text, _, body = data.partition(b"\0")
    offered = text.decode("latin-1")
    signed = SignedHeaders(webhook_id="msg_1", timestamp=SECONDS, signature=offered)
    own = [SigningKey(key=KEY, hint="own")]
    try:
        hmac.verify(signed, body, own)
    except Unauthorised:
        assert hmac.explain_mismatch(signed, body, own=own, others=[])
        return
    digest = standard_hmac.digest(KEY, b"msg_1.%d.%b" % (SECONDS, body), hashlib.sha256)
    assert base64.b64encode(digest).decode().rstrip("=") in offered


def secrets(data: bytes) -> None:
    """A signing secret as somebody may have pasted it."""
    text = data.decode("utf-8", "surrogateescape")
    assert len(secret_hint(text)) <= len("whsec_….....")
    with suppress(ConfigurationError):
        assert 16 <= len(parse_secret(text)) <= 128


def tokens(data: bytes) -> None:
    """A token as it came."""
    text, _, body = data.partition(b"\0")
    signed = SignedHeaders(webhook_id="msg_1", timestamp=SECONDS, signature=text.decode("latin-1"))
    try:
        jwt.verify(signed, body, OneKey(), RULES, NOW)
    except (Unauthorised, Undecided):
        return
    raise AssertionError("a token that nobody signed was believed")


def claims(data: bytes) -> None:
    """The claims of a genuine token, with a body, parted by NUL."""
    payload, _, body = data.partition(b"\0")
    token = pyjwt.PyJWS().encode(payload, PRIVATE_KEY, algorithm="RS256", headers={"kid": "k"})
    signed = SignedHeaders(webhook_id="msg_1", timestamp=SECONDS, signature=token)
    with suppress(Unauthorised):
        verified = jwt.verify(signed, body, OneKey(), RULES, NOW)
        believed = json.loads(payload)
        assert "us" in believed["aud"]
        assert believed.get("iat") is not None or believed.get("exp") is not None
        assert verified.body == body or not body
        envelope(verified.body)


def key_set(data: bytes) -> None:
    """What the key set's server answers."""
    cache.clear()
    before, jwks.opener = jwks.opener, Opener(data)  # type: ignore[assignment]  # stands in for it
    try:
        keys = KeySet("https://keys.example", cache_seconds=60, timeout_seconds=1)
        with suppress(Unauthorised, Undecided):
            assert keys.find("key-1").key_size >= 2048
    finally:
        jwks.opener = before


def envelope(data: bytes) -> None:
    """A body whose signature holds."""
    verified = VerifiedRequest(webhook_id="msg_1", body=data, signing="hmac")
    try:
        event = events.parse(verified)
    except events.Unreadable:
        return
    for text in (event.type, event.resource_id, event.output_uri, event.error_code):
        assert text is None or isinstance(text, str)
    assert event.occurred_at is None or event.occurred_at.tzinfo
    assert event.result_source is None or event.result_source
    clean = storable({**event.user_metadata})
    json.dumps(clean, allow_nan=False).encode("utf-8")
    with suppress(Unauthorised):
        assert seals.open_seal(event.user_metadata, endpoint="") is None


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (headers, signatures, secrets, tokens, claims, key_set, envelope)
}
