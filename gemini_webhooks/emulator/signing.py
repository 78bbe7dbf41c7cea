"""Real signatures: HMAC for registered webhooks, RS256 tokens for dynamic ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gemini_webhooks.emulator.resources import now
from gemini_webhooks.emulator.tokens import TOKEN_SECONDS

SECRET_PREFIX = "whsec_"  # noqa: S105  # the prefix that marks secrets, not a secret
KEY_BITS = 2048
KEPT_KEYS = 20


def new_secret() -> str:
    """A signing secret in the form of Standard Webhooks 1.0.0, from 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def hmac_signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """One ``v1,...`` entry of the signature header (Standard Webhooks 1.0.0)."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.digest(key, b"%s.%d." % (webhook_id.encode(), timestamp) + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def spoiled(token: str) -> str:
    """The token with a signature that does not verify."""
    signed, _, signature = token.rpartition(".")
    wrong = jwt.utils.base64url_decode(signature)[::-1]
    return f"{signed}.{jwt.utils.base64url_encode(wrong).decode()}"


def _new_pem() -> str:
    key = rsa.generate_private_key(65537, KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """An RSA key; ``pem`` is the private one.

    Raises:
        ValueError, TypeError: it is none.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(20))
    pem: str = field(default_factory=_new_pem, repr=False)
    created: datetime = field(default_factory=now)

    def __post_init__(self) -> None:
        # Told at once, and not when it is to sign.
        _ = self.private

    @cached_property
    def private(self) -> rsa.RSAPrivateKey:
        """As cryptography has it."""
        key = load_pem_private_key(self.pem.encode(), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("This is no RSA key.")
        return key

    def as_json(self) -> dict[str, str]:
        """The public key (RFC 7517)."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key()))
        key = {name: str(public[name]) for name in ("kty", "n", "e")}
        return {**key, "kid": self.id, "use": "sig", "alg": "RS256"}


class Signer:
    """Has RSA keys of its own; the newest signs, made when it is first needed.

    Args:
        lifetime: asked for the seconds after which another key signs; 0: never.
        changed: called when there is a new key.
    """

    def __init__(self, lifetime: Callable[[], float], changed: Callable[[], None]) -> None:
        self._lifetime = lifetime
        self._changed = changed
        self._lock = threading.Lock()
        self._keys: tuple[SigningKey, ...] = ()

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """Newest first: the one that signs, and those whose tokens may still be valid."""
        return self._keys

    def restore(self, keys: Sequence[SigningKey]) -> None:
        """Go on with these, newest first."""
        self._keys = tuple(keys)

    def token(self, claims: Mapping[str, Any]) -> str:
        """A signed JWT with these claims."""
        key = self._current()[0]
        return jwt.encode(dict(claims), key.private, algorithm="RS256", headers={"kid": key.id})

    def jwks(self) -> dict[str, Any]:
        """The key set that verifies the tokens (RFC 7517)."""
        return {"keys": [key.as_json() for key in self._current()]}

    def _current(self) -> tuple[SigningKey, ...]:
        with self._lock:
            if not self._keys or self._is_over(self._keys[0]):
                self._keys = (SigningKey(), *self._verifying())
                self._changed()
            return self._keys

    def _is_over(self, key: SigningKey) -> bool:
        seconds = self._lifetime()
        return seconds > 0 and now() - key.created >= timedelta(seconds=seconds)

    def _verifying(self) -> list[SigningKey]:
        """The keys whose tokens may still be valid now that the newest of them retires."""
        moment = now()
        start = moment - timedelta(seconds=TOKEN_SECONDS)
        ends = [moment, *(key.created for key in self._keys)]
        kept = [key for key, end in zip(self._keys, ends, strict=False) if end > start]
        return kept[: KEPT_KEYS - 1]
