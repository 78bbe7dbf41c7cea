"""Signs as a sender does, with other libraries than the code under test."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from standardwebhooks import Webhook

from gemini_webhooks.verification import IncomingRequest, SignedHeaders, SigningKey, parse_secret

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "b3RoZXIgc2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2g="
BODY = b'{"type":"batch.succeeded","version":"v1","data":{"id":"batch_1"}}'
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def seconds(moment: datetime = NOW) -> int:
    return int(moment.timestamp())


def key(secret: str = SECRET, hint: str = "whsec_…laSw") -> SigningKey:
    return SigningKey(key=parse_secret(secret), hint=hint)


def signature(body: bytes = BODY, *, secret: str = SECRET, webhook_id: str = "msg_1") -> str:
    return Webhook(secret).sign(webhook_id, NOW, body.decode())


def signed(signature: str, *, webhook_id: str = "msg_1", timestamp: int | None = None):
    return SignedHeaders(
        webhook_id=webhook_id,
        timestamp=seconds() if timestamp is None else timestamp,
        signature=signature,
    )


def incoming(body: bytes = BODY, **headers: str | None) -> IncomingRequest:
    sent = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(seconds()),
        "webhook-signature": signature(),
    }
    sent |= {f"webhook-{name}": value for name, value in headers.items()}
    present = {name: value for name, value in sent.items() if value is not None}
    return IncomingRequest(headers=present, body=body, received_at=NOW)


def jwk(private_key: rsa.RSAPrivateKey = RSA_KEY, kid: str = "key-1", **changes) -> dict:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(private_key.public_key(), as_dict=True)
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid} | {
        "n": public["n"],
        "e": public["e"],
        **changes,
    }


def token(claims: dict | bytes, *, private_key=RSA_KEY, kid: str = "key-1", **headers) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jwt.PyJWS().encode(
        payload, private_key, algorithm="RS256", headers={"kid": kid, **headers}
    )
