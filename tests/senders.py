"""Google's side of a delivery, signed by independent libraries: never by our own code."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from django.http import HttpResponse
from django.test import Client
from standardwebhooks import Webhook

from gemini_webhooks import dispatch
from gemini_webhooks.jobs import webhook_config

ROOT = "/webhooks/gemini/"
AUDIENCE = "https://site.example/webhooks/gemini/"


def new_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def new_id() -> str:
    return f"msg_{uuid.uuid4().hex}"


def envelope(event_type: str = "batch.succeeded", **data: Any) -> dict[str, Any]:
    return {
        "type": event_type,
        "version": "v1",
        "timestamp": "2026-01-22T12:00:00Z",
        "data": {"id": "batch_123456", **data},
    }


@dataclass(kw_only=True)
class Sender:
    """Signs and posts events."""

    path: str = ROOT
    client: Client = field(default_factory=Client)

    def envelope(self, event_type: str = "batch.succeeded", **data: Any) -> dict[str, Any]:
        return envelope(event_type, **data)

    def headers(self, body: bytes, webhook_id: str, timestamp: int) -> dict[str, str]:
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self.signature(body, webhook_id, timestamp),
        }

    def signature(self, body: bytes, webhook_id: str, timestamp: int) -> str:
        raise NotImplementedError

    def post(
        self,
        payload: Any = None,
        *,
        webhook_id: str | None = None,
        timestamp: int | None = None,
        headers: dict[str, str | None] | None = None,
        path: str | None = None,
    ) -> HttpResponse:
        body = self.encode(self.envelope() if payload is None else payload)
        sent: dict[str, str | None] = {
            **self.headers(body, webhook_id or new_id(), timestamp or int(time.time())),
            **(headers or {}),
        }
        answer = self.client.post(
            path or self.path,
            data=body,
            content_type="application/json",
            headers={name: value for name, value in sent.items() if value is not None},
        )
        dispatch.flush()  # tests look for the message
        return answer

    @staticmethod
    def encode(payload: Any) -> bytes:
        return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


@dataclass(kw_only=True)
class StaticSender(Sender):
    """Signs with HMAC, by the Standard Webhooks library."""

    secret: str = field(default_factory=new_secret)

    def signature(self, body: bytes, webhook_id: str, timestamp: int) -> str:
        moment = datetime.fromtimestamp(timestamp, UTC)
        # The library signs text; latin-1 would change bytes, so poison bodies are signed by hand.
        try:
            return Webhook(self.secret).sign(webhook_id, moment, body.decode())
        except UnicodeDecodeError:
            return sign_bytes(self.secret, webhook_id, timestamp, body)


def sign_bytes(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hashlib.sha256
    block = 64
    inner = digest(bytes(b ^ 0x36 for b in key.ljust(block, b"\0")) + signed).digest()
    outer = digest(bytes(b ^ 0x5C for b in key.ljust(block, b"\0")) + inner).digest()
    return "v1," + base64.b64encode(outer).decode()


@dataclass(kw_only=True)
class Google:
    """A key pair and the key set that is served for it."""

    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    key_id: str = field(default_factory=lambda: f"key-{uuid.uuid4().hex[:8]}")

    @property
    def key_set(self) -> dict[str, Any]:
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**jwk, "kid": self.key_id, "use": "sig", "alg": "RS256"}]}


@dataclass(kw_only=True)
class DynamicSender(Sender):
    """Signs with RS256, by PyJWT."""

    google: Google
    binding: str = "event"
    audience: str = AUDIENCE
    sealed_for: str | None = ""
    user_metadata: dict[str, Any] = field(default_factory=lambda: {"tenant": "acme"})
    claims: dict[str, Any] = field(default_factory=dict)

    def envelope(self, event_type: str = "batch.succeeded", **data: Any) -> dict[str, Any]:
        metadata: Any = self.user_metadata
        if self.sealed_for is not None:
            metadata = webhook_config(metadata, endpoint=self.sealed_for or None)["user_metadata"]
        return envelope(event_type, user_metadata=metadata, **data)

    def signature(self, body: bytes, webhook_id: str, timestamp: int) -> str:
        return self.token({**self.binding_claims(body, webhook_id), **self.claims}, timestamp)

    def token(self, claims: dict[str, Any], timestamp: int | None = None) -> str:
        issued = timestamp or int(time.time())
        every = {
            "iss": "https://google.example",
            "aud": self.audience,
            "iat": issued,
            "exp": issued + 3600,
            "jti": uuid.uuid4().hex,
            **claims,
        }
        every = {name: value for name, value in every.items() if value is not None}
        return jwt.encode(
            every, self.google.key, algorithm="RS256", headers={"kid": self.google.key_id}
        )

    def binding_claims(self, body: bytes, webhook_id: str) -> dict[str, Any]:
        if self.binding == "event":
            try:
                event = json.loads(body)
            except ValueError:
                event = None
            if isinstance(event, dict) and "type" in event and "data" in event:
                return event
        if self.binding in ("event", "body"):
            return {"body_sha256": hashlib.sha256(body).hexdigest()}
        return {"webhook_id": webhook_id} if self.binding == "webhook_id" else {}


@contextmanager
def served_key_set(google: Google) -> Iterator[str]:
    """Serve a key set over HTTP on loopback; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(google.key_set).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
