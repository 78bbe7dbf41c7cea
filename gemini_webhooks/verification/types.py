"""The frozen values that go into verification and come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Signing = Literal["hmac", "jwt", "none"]
Binding = Literal["event", "body", "webhook_id", "unbound"]


@dataclass(frozen=True, kw_only=True)
class IncomingRequest:
    """What came, before anything about it is believed.

    Attributes:
        headers: lower-case names.
        body: the raw bytes.
        received_at: aware time of receipt.
    """

    headers: Mapping[str, str] = field(repr=False)  # the signature may be a bearer token
    body: bytes = field(repr=False)
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """One shared secret, opened, with what is needed to tell which one it was.

    Attributes:
        key: the HMAC key, 24 to 64 random bytes (Standard Webhooks 1.0.0).
        hint: for people, for example ``whsec_…3frh``.
        secret_id: primary key of the ``SigningSecret``; ``None`` for one from settings.
    """

    key: bytes = field(repr=False)
    hint: str
    secret_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class TokenRules:
    """What a dynamic token must satisfy.

    Attributes:
        audiences: accepted ``aud`` values; empty: no dynamic webhook is accepted.
        issuers: accepted ``iss`` values; empty: any.
        tolerance_seconds: clock difference allowed either side.
        max_age_seconds: the oldest ``iat`` accepted.
    """

    audiences: tuple[str, ...]
    issuers: tuple[str, ...] = ()
    tolerance_seconds: int = 300
    max_age_seconds: int = 3600


@dataclass(frozen=True, kw_only=True)
class VerifiedRequest:
    """A request whose signature holds, or a stored delivery that was one.

    Having one is the proof that verification ran: ``events.parse`` takes nothing else.

    Attributes:
        webhook_id: the idempotency key, the same on every retry.
        body: the raw bytes that the signature vouches for. Where a token carries the event
            and the body was empty, the event of the token as JSON.
        signing: ``hmac`` for static webhooks, ``jwt`` for dynamic ones.
        binding: what the token vouches for; ``None`` unless ``signing`` is ``jwt``.
        key_hint: hint of the secret, or the key id of the token.
        secret_id: primary key of the ``SigningSecret`` that matched, if it has one.
        token_digest: SHA-256 of the token, hex; empty unless ``signing`` is ``jwt``.
        token_expires_at: aware time from which on the token is refused, give or take the
            tolerance; ``None`` unless ``signing`` is ``jwt``.
        sealed_metadata: what a valid seal says; ``None`` without a seal.
    """

    webhook_id: str
    body: bytes = field(repr=False)
    signing: Signing
    binding: Binding | None = None
    key_hint: str = ""
    secret_id: int | None = None
    token_digest: str = field(default="", repr=False)
    token_expires_at: datetime | None = None
    sealed_metadata: Mapping[str, Any] | None = field(default=None, repr=False)
