"""How many deliveries one worker handles, beside bare Celery tasks of one INSERT.

    python -m benchmarks.handling --database postgres://postgres@127.0.0.1:5432/postgres

Stores deliveries and publishes their messages with the worker stopped, then has a worker (prefork,
2) work them off, with one receiver and with five; in turn with as many bare tasks as there are
receivers. The figures leave out how long the worker takes to start. Makes a database of its own.
"""

from __future__ import annotations

import argparse
import base64
import os
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from benchmarks.harness import database, environment

FILL = """
import django; django.setup()
from datetime import UTC, datetime
from benchmarks.site.celery import app
from django.db import connection
from gemini_webhooks import events
from gemini_webhooks.deliveries import record
from gemini_webhooks.dispatch import messages
from gemini_webhooks.processing import Handoff
from gemini_webhooks.verification import VerifiedRequest
connection.cursor().execute("DELETE FROM bench_event")
connection.cursor().execute("DELETE FROM gemini_webhooks_attempt")
connection.cursor().execute("DELETE FROM gemini_webhooks_receiverrun")
connection.cursor().execute("DELETE FROM gemini_webhooks_webhookdelivery")
ids = []
for number in range({number}):
    body = b'{{"type": "{type}", "version": "v1", "data": {{"id": "job_%d"}}}}' % number
    verified = VerifiedRequest(webhook_id=f"msg_{{number}}", body=body, signing="hmac")
    recorded = record(verified, events.parse(verified), endpoint_id=None,
                      received_at=datetime.now(UTC), hand_off_now=True, headers={{}})
    ids.append(recorded.delivery_id)
messages.publish([Handoff(kind="delivery", id=one) for one in ids], app=app)
"""
FILL_BARE = """
import django; django.setup()
from benchmarks.site.celery import app, insert
from django.db import connection
connection.cursor().execute("DELETE FROM bench_event")
for number in range({number}):
    insert.delay(f"msg_{{number}}")
"""
COUNT = (
    "import django; django.setup()\nfrom django.db import connection\n"
    "cursor = connection.cursor(); cursor.execute({sql!r}); print(cursor.fetchone()[0])\n"
)
DONE = "SELECT count(*) FROM gemini_webhooks_receiverrun WHERE state = 'succeeded'"
DONE_BARE = "SELECT count(*) FROM bench_event"
#: Event types of :mod:`benchmarks.site.receivers`, by how many receivers they have.
TYPES = {1: "batch.succeeded", 5: "interaction.completed"}


def main() -> None:
    """Fill, work off, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--database", default="postgres://postgres@127.0.0.1:5432/postgres", metavar="URL"
    )
    parser.add_argument("--broker", default="amqp://guest:guest@127.0.0.1:5672//", metavar="URL")
    parser.add_argument("--number", type=int, default=3000, help="of deliveries in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ["BENCH_QUEUE"] = f"benchmarks-{os.getpid()}"
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with database(options.database) as url:
        variables = environment(url, options.broker, secret)
        rates: dict[str, list[float]] = {}
        for number in range(options.rounds):
            for receivers, event_type in TYPES.items():
                count = options.number // receivers
                fill = FILL.format(number=count, type=event_type)
                ours = worked_off(fill, DONE, count * receivers, variables) / receivers
                fill = FILL_BARE.format(number=count * receivers)
                bare = worked_off(fill, DONE_BARE, count * receivers, variables) / receivers
                sys.stderr.write(f"{number}: {receivers}: {ours:.0f}/s, bare {bare:.0f}/s\n")
                rates.setdefault(f"{receivers} ours", []).append(ours)
                rates.setdefault(f"{receivers} bare", []).append(bare)
    for receivers in TYPES:
        ours_all, bare_all = rates[f"{receivers} ours"], rates[f"{receivers} bare"]
        ratio = statistics.median(a / b for a, b in zip(ours_all, bare_all, strict=True))
        sys.stdout.write(
            f"{receivers} receivers: {statistics.median(ours_all):.0f} deliveries/s, bare tasks "
            f"for as many {statistics.median(bare_all):.0f}/s, ratio {ratio:.2f}\n"
        )


def worked_off(fill: str, sql: str, expected: int, variables: dict[str, str]) -> float:
    """Runs per second, between a tenth and all of them."""
    subprocess.run([sys.executable, "-c", fill], env=variables, check=True)  # noqa: S603  # our own
    worker = subprocess.Popen(  # noqa: S603  # our own
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "benchmarks.site.celery",
            "worker",
            "-c2",
            "-lERROR",
            "-Ofair",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            # Another worker on this machine may have the usual name.
            "-n",
            variables["BENCH_QUEUE"],
            "-Q",
            variables["BENCH_QUEUE"],
        ],
        env=variables,
        stdout=subprocess.DEVNULL,
    )
    try:
        with counter(sql, variables) as counting:
            return rate(counting, expected)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait()


def rate(counting: Callable[[], int], expected: int) -> float:
    """How many a second are done, after the first tenth."""
    while (first := counting()) < expected // 10:
        time.sleep(0.02)
    begun = time.perf_counter()
    while counting() < expected:
        time.sleep(0.02)
    return (expected - first) / (time.perf_counter() - begun)


@contextmanager
def counter(sql: str, variables: dict[str, str]) -> Iterator[Callable[[], int]]:
    """Counts through one connection of a process of its own."""
    code = (
        "import sys, django; django.setup()\nfrom django.db import connection\n"
        "cursor = connection.cursor()\n"
        "for line in sys.stdin:\n"
        f"    cursor.execute({sql!r}); print(cursor.fetchone()[0], flush=True)\n"
    )
    process = subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-c", code],
        env=variables,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    asked, answered = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)

    def count() -> int:
        asked.write("\n")
        asked.flush()
        return int(answered.readline())

    yield count
    process.terminate()
    process.wait()


if __name__ == "__main__":
    main()
