"""A Celery worker of the benchmarks' site."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

COMMAND = (
    "celery -A benchmarks.site.celery worker --concurrency=2 --loglevel=ERROR -Ofair"
    " --without-gossip --without-mingle --without-heartbeat --queues={queue}"
)


@contextmanager
def working(variables: Mapping[str, str]) -> Iterator[int]:
    """One worker (prefork, 2) on the queue ``BENCH_QUEUE``; yields its process id."""
    command = COMMAND.format(queue=variables["BENCH_QUEUE"])
    worker = subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-m", *command.split()], env=variables, stdout=subprocess.DEVNULL
    )
    try:
        yield worker.pid
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait()
