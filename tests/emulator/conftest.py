"""An emulator, the official client for it, and somebody to deliver to."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import pytest

from gemini_webhooks.emulator import EmulatorServer

KEY = "any-key"
MODEL = "gemini-2.5-flash"


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]
    body: bytes


class Receiver:
    """An HTTP server that keeps what it gets; answers ``statuses`` in turn, then as ``judge`` says.

    ``meanwhile`` is called once, after the first request has come and before it is answered.
    """

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.statuses: list[int] = []
        self.answer = b""
        self.judge: Callable[[Received], int] = lambda _: 200
        self.meanwhile: Callable[[], object] | None = None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(headers, body)
                receiver.got.append(received)
                happen, receiver.meanwhile = receiver.meanwhile, None
                if happen:
                    happen()
                statuses = receiver.statuses
                self.send_response(statuses.pop(0) if statuses else receiver.judge(received))
                self.send_header("content-length", str(len(receiver.answer)))
                self.end_headers()
                if receiver.answer:
                    self.wfile.write(receiver.answer)

            def log_message(self, *args) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?site=1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):  # where it can be, its loop ends at once
            self.server.socket.shutdown(socket.SHUT_RDWR)
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(autouse=True)
def _extra_gcs():
    pytest.importorskip("google_crc32c", reason="needs the extra gcs")


@pytest.fixture
def serve() -> Iterator:
    """Start an emulator with options; jobs are over at once unless told otherwise."""
    with ExitStack() as stack:

        def start(**options) -> EmulatorServer:
            options = {"job_seconds": 0, "retry_base": 0.01, **options}
            return stack.enter_context(EmulatorServer(**options))

        yield start


@pytest.fixture
def server(serve) -> EmulatorServer:
    return serve()


@pytest.fixture
def emulator(server):
    return server.emulator


@pytest.fixture
def connect() -> Iterator:
    """The official client, connected to a server."""
    genai = pytest.importorskip("google.genai", reason="needs google-genai (the extra genai)")
    with ExitStack() as stack:

        def client(server: EmulatorServer, key: str = KEY, **options):
            client = genai.Client(
                api_key=key, http_options={"base_url": server.url, **options}, vertexai=False
            )
            stack.callback(client.close)
            return client

        yield client


@pytest.fixture
def client(server, connect):
    return connect(server)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


class Wire:
    """Plain HTTP, for what the official clients would not send."""

    def __init__(self, server: EmulatorServer) -> None:
        self.server = server

    def send(self, method, path, body=None, *, key="", **headers):
        connection = http.client.HTTPConnection(self.server.url.removeprefix("http://"))
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            headers["x-goog-api-key"] = key
        try:
            connection.request(method, path, body, headers)
            with connection.getresponse() as response:
                data = response.read()
        finally:
            connection.close()
        is_json = response.headers.get("content-type", "").startswith("application/json")
        return response.status, response.headers, json.loads(data) if is_json and data else data

    def get(self, path, **headers):
        return self.send("GET", path, **headers)

    def post(self, path, body, **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", path, body, **headers)


@pytest.fixture
def wire(server) -> Wire:
    return Wire(server)
