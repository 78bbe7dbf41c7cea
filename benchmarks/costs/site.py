"""The database, the broker's queue and the processes that are measured."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from kombu import Connection

from benchmarks.costs.processes import children
from benchmarks.harness import environment

MICRO = 1_000_000
PATIENCE_SECONDS = 600


def wait(until: Callable[[], bool], complaint: str) -> None:
    """Look again and again.

    Raises:
        SystemExit: with the complaint, if it takes too long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not until():
        if time.monotonic() > deadline:
            raise SystemExit(complaint)
        time.sleep(0.1)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where everything is.

    Attributes:
        url: of a database of its own.
        broker: URL of the broker.
        queue: of its own, too.
        secret: that signs requests.
    """

    url: str
    broker: str
    queue: str
    secret: str

    @property
    def database(self) -> str:
        """Name of the database."""
        return self.url.rpartition("/")[2]

    @cached_property
    def _connection(self) -> psycopg.Connection[Any]:
        # One for all: a new one for each look would cost more than what is looked at.
        return psycopg.connect(self.url, autocommit=True)

    def close(self) -> None:
        """Let go of the database and leave nothing at the broker."""
        self._connection.close()
        with self.channel() as channel:
            channel.queue_delete(self.queue)

    @property
    def variables(self) -> dict[str, str]:
        """The variables of its processes."""
        return {**environment(self.url, self.broker, self.secret), "BENCH_QUEUE": self.queue}

    def python(self, code: str, *words: str) -> str:
        """Run code in a process of the site; returns what it printed."""
        command = [sys.executable, "-c", f"import django; django.setup()\n{code}", *words]
        done = subprocess.run(  # noqa: S603  # our own
            command, env=self.variables, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    def number(self, sql: str) -> float:
        """What a query finds."""
        row = self._connection.execute(sql.encode()).fetchone()
        return float(row[0]) if row else 0.0

    def empty(self) -> None:
        """Throw away rows and messages."""
        self._connection.execute("TRUNCATE bench_event, gemini_webhooks_webhookdelivery CASCADE")
        self.purge()

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """To the broker; typed by its transport, not by kombu."""
        with Connection(self.broker) as connection, connection.channel() as channel:
            yield channel

    def waiting(self) -> int:
        """Messages in the queue."""
        with self.channel() as channel:
            return int(channel.queue_declare(self.queue, passive=True).message_count)

    def purge(self) -> None:
        """Throw away the messages."""
        with self.channel() as channel:
            channel.queue_declare(self.queue, durable=True, auto_delete=False)
            channel.queue_purge(self.queue)


@contextmanager
def web(site: Site, *, count: int = 1, threads: int = 1) -> Iterator[tuple[str, list[int]]]:
    """So many web processes; yields their address and their ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [f"--workers={count}", f"--threads={threads}", "--worker-class=gthread"]
    words += [f"--bind=127.0.0.1:{port}", "--log-level=warning", "--keep-alive=30"]
    gunicorn = subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-m", "gunicorn", "benchmarks.site.wsgi", *words],
        env=site.variables,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait(lambda: _answers(address), "gunicorn does not start")
        time.sleep(1)  # for the others
        yield address, children(gunicorn.pid)
    finally:
        gunicorn.terminate()
        gunicorn.wait()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/nothing")  # noqa: S310  # loopback
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def worker(site: Site, *, count: int = 1, budget: str = "") -> Iterator[int]:
    """A Celery worker with so many children that are ready; yields the id of its main process.

    Args:
        site: whose messages it takes.
        count: of its children.
        budget: for running receivers at once, see :mod:`benchmarks.costs.budget`.
    """
    words = [f"-c{count}", "-lERROR", "-Ofair", "--without-gossip", "--without-mingle"]
    words += ["--without-heartbeat", "-Q", site.queue]
    words += ["-I", "benchmarks.costs.budget"] if budget else []
    process = subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-m", "celery", "-A", "benchmarks.site.celery", "worker", *words],
        env=site.variables | {"BENCH_BUDGET": budget},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait(lambda: len(children(process.pid)) >= count, "the worker does not start")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
