"""What receiving costs, beside what people would write themselves.

    python -m benchmarks.ingest --database postgres://postgres@127.0.0.1:5432/postgres

Serves one site with gunicorn (2 workers of 4 threads) and sends pre-signed requests with wrk over
16 connections, to each view in turn, several rounds. Makes a database of its own on that server,
and removes it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import HERE, cpu_of, database, environment

VIEWS = {"ours": "/ours/", "V": "/v/", "N": "/n/", "verify": "/verify/"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of one view: requests per second, CPU per request, latencies in milliseconds."""

    rate: float
    cpu: float
    p50: float
    p99: float
    refused: int


def main() -> None:
    """Serve, load, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--database", default="postgres://postgres@127.0.0.1:5432/postgres", metavar="URL"
    )
    parser.add_argument("--broker", default="amqp://guest:guest@127.0.0.1:5672//", metavar="URL")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--view", action="append", choices=sorted(VIEWS))
    options = parser.parse_args()
    views = options.view or ["ours", "V", "N"]
    runs: dict[str, list[Measured]] = {name: [] for name in views}
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with database(options.database) as url, served(url, options.broker, secret) as (address, pids):
        for number in range(options.rounds + 1):
            for name in views:
                measured = load(f"{address}{VIEWS[name]}", secret, pids, options.seconds)
                if number:  # the first round warms up
                    runs[name].append(measured)
                    sys.stderr.write(f"{number} {name}: {measured}\n")
    report(runs)


def report(runs: dict[str, list[Measured]]) -> None:
    """Medians, and ratios round by round."""
    out = sys.stdout.write
    for name, measured in runs.items():
        rate, cpu, p99 = (
            statistics.median(getattr(one, field) for one in measured)
            for field in ("rate", "cpu", "p99")
        )
        out(f"{name:8} {rate:7.0f}/s  CPU {cpu:5.2f} ms  p99 {p99:6.1f} ms\n")
    ours = runs.get("ours", [])
    for name, measured in runs.items():
        if name == "ours" or not ours:
            continue
        rates = statistics.median(a.rate / b.rate for a, b in zip(ours, measured, strict=True))
        cpus = statistics.median(a.cpu / b.cpu for a, b in zip(ours, measured, strict=True))
        out(f"ours / {name}: throughput {rates:.2f}, CPU {cpus:.2f}\n")


def load(url: str, secret: str, pids: list[int], seconds: float) -> Measured:
    """Send what is new for so many seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        for line in signed(secret, int(seconds * 3000)):
            file.write(line)
        file.flush()
        before = cpu_of(pids)
        done = subprocess.run(  # noqa: S603 - our own
            [  # noqa: S607 - wherever it is installed
                "wrk",
                "-t1",
                "-c16",
                f"-d{seconds:g}s",
                "--latency",
                "-s",
                HERE / "load.lua",
                url,
                "--",
                file.name,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        spent = cpu_of(pids) - before
    figures = json.loads(done.stdout.rpartition("JSON")[2])
    if figures["socket_errors"]:
        raise SystemExit(f"{url}: {done.stdout}")
    return Measured(
        rate=figures["requests"] / figures["micros"] * 1e6,
        cpu=spent / figures["requests"] * 1000,
        p50=figures["p50"] / 1000,
        p99=figures["p99"] / 1000,
        refused=figures["not_2xx"],
    )


def signed(secret: str, number: int) -> Iterator[str]:
    """Requests that differ, signed now."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    now = int(time.time())
    for _ in range(number):
        webhook_id = "msg_" + secrets.token_hex(12)
        body = json.dumps(
            {
                "type": "batch.succeeded",
                "version": "v1",
                "timestamp": "2026-01-22T12:00:00Z",
                "data": {
                    "id": "batch_" + secrets.token_hex(8),
                    "output_file_uri": "gs://my-bucket/results.jsonl",
                },
            }
        )
        content = f"{webhook_id}.{now}.{body}".encode()
        digest = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        yield f"{webhook_id}\t{now}\tv1,{digest}\t{body}\n"


@contextmanager
def served(url: str, broker: str, secret: str) -> Iterator[tuple[str, list[int]]]:
    """Gunicorn; yields its address and its workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gunicorn = subprocess.Popen(  # noqa: S603 - our own
        [
            sys.executable,
            "-m",
            "gunicorn",
            "benchmarks.site.wsgi",
            "--workers=2",
            "--threads=4",
            f"--bind=127.0.0.1:{port}",
            "--log-level=warning",
            "--keep-alive=30",
        ],
        env=environment(url, broker, secret),
    )
    try:
        address = f"http://127.0.0.1:{port}"
        while True:
            try:
                urllib.request.urlopen(f"{address}/nothing")  # noqa: S310 - loopback
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        time.sleep(1)
        children = Path(f"/proc/{gunicorn.pid}/task/{gunicorn.pid}/children").read_text()
        yield address, [int(pid) for pid in children.split()]
    finally:
        gunicorn.terminate()
        gunicorn.wait()


if __name__ == "__main__":
    main()
