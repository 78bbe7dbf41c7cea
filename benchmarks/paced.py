"""Sends requests at a steady rate, whether answers come or not.

Latency counts from when a request was due, not from when it was sent: one that waits because the
one before it on its connection is not answered yet has waited.
"""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from urllib.parse import urlsplit

from benchmarks.harness import cpu_of
from benchmarks.sending import CONNECTIONS, Measured
from benchmarks.serving import Served


@dataclass(frozen=True, kw_only=True)
class Answered:
    """How long an answer took from when its request was due, in seconds, and its status."""

    seconds: float
    status: int


def paced(
    served: Served, path: str, lines: Iterable[str], *, rate: float, seconds: float
) -> Measured:
    """Send ``rate`` requests a second, evenly, over as many connections as :mod:`.sending`."""
    url = urlsplit(f"{served.address}{path}")
    requests = [_encoded(line, url.path, url.netloc) for line in islice(lines, int(rate * seconds))]
    pids = served.pids
    before, started = cpu_of(pids), time.perf_counter() + 0.1
    send = partial(_send, str(url.hostname), int(url.port or 80), started, rate)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        sent = [
            pool.submit(send, list(enumerate(requests))[first::CONNECTIONS])
            for first in range(CONNECTIONS)
        ]
        answers = [one for future in sent for one in future.result()]
    took, spent = time.perf_counter() - started, cpu_of(pids) - before
    latencies = sorted(one.seconds * 1000 for one in answers)
    return Measured(
        rate=len(answers) / took,
        cpu=spent / len(answers) * 1000,
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        refused=sum(one.status >= 300 for one in answers),
        requests=len(answers),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that so many are not above."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def _encoded(line: str, path: str, host: str) -> bytes:
    if line.startswith("/"):
        path, _, line = line.partition("\t")
    webhook_id, timestamp, signature, body = line.rstrip("\n").split("\t", 3)
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"webhook-id: {webhook_id}\r\nwebhook-timestamp: {timestamp}\r\n"
        f"webhook-signature: {signature}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    ).encode()


def _send(
    host: str, port: int, started: float, rate: float, requests: Sequence[tuple[int, bytes]]
) -> list[Answered]:
    answers: list[Answered] = []
    with socket.create_connection((host, port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, request in requests:
            due = started + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.sendall(request)
            status = _status(connection)
            answers.append(Answered(seconds=time.perf_counter() - due, status=status))
    return answers


def _status(connection: socket.socket) -> int:
    """Read one answer: a server that does not know its length ends it with an empty chunk."""
    received = b""
    while not _is_whole(received):
        received += _some(connection)
    return int(received.split(b" ", 2)[1])


def _is_whole(received: bytes) -> bool:
    head, ended, body = received.partition(b"\r\n\r\n")
    if not ended:
        return False
    if found := re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE):
        return len(body) >= int(found[1])
    return body.endswith(b"0\r\n\r\n")


def _some(connection: socket.socket) -> bytes:
    if data := connection.recv(65536):
        return data
    raise ConnectionError("the server hung up")
