"""Real signatures: HMAC for registered webhooks, RS256 tokens for dynamic ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix that marks secrets, not a secret
KEY_BITS = 2048


def new_secret() -> str:
    """A signing secret in the form of Standard Webhooks 1.0.0, from 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def hmac_signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """One ``v1,...`` entry of the signature header (Standard Webhooks 1.0.0)."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.digest(key, b"%s.%d." % (webhook_id.encode(), timestamp) + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


class Signer:
    """Has an RSA key of its own, made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: rsa.RSAPrivateKey | None = None
        self._key_id = secrets.token_hex(20)

    @property
    def _key(self) -> rsa.RSAPrivateKey:
        with self._lock:
            self._made = self._made or rsa.generate_private_key(65537, KEY_BITS)
            return self._made

    def token(self, claims: Mapping[str, Any]) -> str:
        """A signed JWT with these claims."""
        return jwt.encode(dict(claims), self._key, algorithm="RS256", headers={"kid": self._key_id})

    def jwks(self) -> dict[str, Any]:
        """The key set that verifies the tokens (RFC 7517)."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        key = {name: public[name] for name in ("kty", "n", "e")}
        return {"keys": [{**key, "kid": self._key_id, "use": "sig", "alg": "RS256"}]}
