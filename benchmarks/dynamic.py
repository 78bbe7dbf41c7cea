"""Dynamic webhooks: a key set on loopback, and requests with a token each."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.harness import asked
from benchmarks.traffic import body_of, line

AUDIENCE, KEY_ID = "benchmarks", "benchmarks-1"


def new_key() -> rsa.RSAPrivateKey:
    """As long as Google's."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def seal(url: str) -> dict[str, Any]:
    """User metadata with a seal of the site."""
    code = (
        "import json\nfrom gemini_webhooks.jobs import webhook_config\n"
        "print(json.dumps(webhook_config({'tenant': 'acme'})['user_metadata']))\n"
    )
    found: dict[str, Any] = json.loads(asked(code, url))
    return found


def tokens(key: rsa.RSAPrivateKey, ids: Iterable[str], metadata: dict[str, Any]) -> Iterator[str]:
    """Sealed events, each with a token that vouches for its body alone."""
    now = int(time.time())
    for webhook_id in ids:
        body = body_of(user_metadata=metadata)
        claims = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 3600,
            "body_sha256": hashlib.sha256(body.encode()).hexdigest(),
        }
        token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": KEY_ID})
        yield line(webhook_id, now, token, body)


@contextmanager
def key_set(key: rsa.RSAPrivateKey) -> Iterator[str]:
    """Serve the public key; yields the address."""
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    body = json.dumps({"keys": [{**jwk, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    finally:
        server.shutdown()
        server.server_close()
