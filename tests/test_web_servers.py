"""Real web servers in processes of their own: WSGI with threads, and ASGI."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from gemini_webhooks.models import WebhookDelivery
from tests.senders import ROOT, StaticSender, envelope, new_id

PROJECT = Path(__file__).parent.parent
COMMANDS = {
    "gunicorn": "gunicorn tests.wsgi --threads 4 --bind 127.0.0.1:{port} --no-control-socket",
    "uvicorn": "uvicorn tests.asgi:application --port {port} --lifespan off --log-level warning",
}

pytestmark = pytest.mark.django_db(transaction=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(params=COMMANDS)
def port(request: pytest.FixtureRequest, static: StaticSender) -> Iterator[int]:
    """The port of a web server that knows the secret of ``static``."""
    port = free_port()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.server_settings",
        "WORKER_DATABASE": json.dumps(connection.settings_dict, default=str),
        "SERVER_SECRET": static.secret,
    }
    command = COMMANDS[request.param].format(port=port).split()
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert process.poll() is None, "the server did not start"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(20)


def post(port: int, body: bytes, headers: dict[str, str], *, chunked: bool) -> tuple[int, object]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        pieces = (body[at : at + 100] for at in range(0, len(body), 100))
        client.request(
            "POST",
            ROOT,
            body=pieces if chunked else body,
            headers={"content-type": "application/json", **headers},
            encode_chunked=chunked,
        )
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        client.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_delivery_over_http(static: StaticSender, port: int, chunked: bool) -> None:
    body = json.dumps(envelope(note="x" * 3000)).encode()
    headers = static.headers(body, new_id(), int(time.time()))
    if chunked:
        headers["transfer-encoding"] = "chunked"

    first = post(port, body, headers, chunked=chunked)
    again = post(port, body, headers, chunked=chunked)

    assert first == (200, {"status": "accepted"})
    assert again == (200, {"status": "duplicate"})
    assert bytes(WebhookDelivery.objects.get().body) == body


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_too_large_over_http(static: StaticSender, port: int, chunked: bool) -> None:
    body = json.dumps(envelope(note="x" * 10_000)).encode()
    headers = static.headers(body, new_id(), int(time.time()))
    if chunked:
        headers["transfer-encoding"] = "chunked"

    assert post(port, body, headers, chunked=chunked) == (413, {"error": "body_too_large"})
    assert not WebhookDelivery.objects.exists()


def test_sender_that_stops_half_way_is_no_server_error(static: StaticSender, port: int) -> None:
    body = json.dumps(envelope()).encode()
    headers = {**static.headers(body, new_id(), int(time.time())), "content-length": "9000"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", port), 20) as raw:
        raw.sendall(f"POST {ROOT} HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode() + body[:-10])
        raw.shutdown(socket.SHUT_WR)
        answer = raw.makefile("rb").readline()

    assert b" 500 " not in answer
    assert not WebhookDelivery.objects.exists()
