"""Decides whether a request is believed: pure functions, no models, no side effects.

The only input is an :class:`IncomingRequest`; the only proof of a valid signature is a
:class:`VerifiedRequest`. Protocol: Standard Webhooks 1.0.0 for static webhooks (``hmac``), an
RS256 token for Google's dynamic webhooks (``jwt``). What is not believed raises
:class:`~gemini_webhooks.exceptions.Rejected`, what cannot be decided now
:class:`~gemini_webhooks.exceptions.Undecided`, and nothing else.
"""

from __future__ import annotations

from gemini_webhooks.verification import hmac, jwt
from gemini_webhooks.verification.headers import (
    READ_HEADERS,
    SAFE_HEADERS,
    SignedHeaders,
    read_headers,
    safe_headers,
)
from gemini_webhooks.verification.hmac import parse_secret, secret_hint
from gemini_webhooks.verification.jwks import KeySet
from gemini_webhooks.verification.types import (
    IncomingRequest,
    SigningKey,
    TokenRules,
    VerifiedRequest,
)

__all__ = [
    "READ_HEADERS",
    "SAFE_HEADERS",
    "IncomingRequest",
    "KeySet",
    "SignedHeaders",
    "SigningKey",
    "TokenRules",
    "VerifiedRequest",
    "hmac",
    "jwt",
    "parse_secret",
    "read_headers",
    "safe_headers",
    "secret_hint",
]
