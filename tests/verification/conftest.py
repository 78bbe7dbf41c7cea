"""A key set server on loopback that counts how often it is asked, and a clock to be set."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.cache import cache

from gemini_webhooks.verification import KeySet
from tests.verification.signers import jwk


class KeySetServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.fetches = 0
        self.status = 200
        self.moved_to = None
        self.gate = threading.Event()
        self.gate.set()
        self.serve(jwk())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/jwks.json"

    def serve(self, *entries) -> None:
        self.answer = json.dumps({"keys": entries}).encode()


class Handler(BaseHTTPRequestHandler):
    server: KeySetServer

    def do_GET(self):
        self.server.fetches += 1
        self.server.gate.wait(10)
        if self.server.moved_to and self.path == "/jwks.json":
            self.send_response(302)
            self.send_header("Location", self.server.moved_to)
        else:
            self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def _empty_cache():
    cache.clear()


@pytest.fixture
def server():
    with KeySetServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def key_set(server):
    return KeySet(server.url, cache_seconds=3600, timeout_seconds=3)


class Clock:
    """Stands still until it is moved; Django's local-memory cache looks at it too."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock
