"""Sends requests as fast as they are answered, and says what that cost."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.harness import HERE, cpu_of
from benchmarks.serving import Served

CONNECTIONS = 16
#: Requests that are made for each second; more than any server here answers.
PER_SECOND = 4000


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run.

    Attributes:
        rate: requests per second.
        cpu: of the server's processes, for one request, in milliseconds.
        p50: latency in milliseconds, as p99.
        refused: how many answers were not 2xx.
        requests: how many there were.
    """

    rate: float
    cpu: float
    p50: float
    p99: float
    refused: int
    requests: int


def load(served: Served, path: str, lines: Iterable[str], seconds: float) -> Measured:
    """Send each of ``lines`` once, for so many seconds.

    Args:
        served: the site.
        path: where those go that name no path of their own.
        lines: as :mod:`benchmarks.traffic` makes them.
        seconds: at most; it ends when there are no more lines.
    """
    url, pids = f"{served.address}{path}", served.pids
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(lines)
        file.flush()
        before = cpu_of(pids)
        command = f"wrk -t1 -c{CONNECTIONS} -d{seconds:g}s --timeout=30s --latency".split()
        done = subprocess.run(  # noqa: S603  # our own
            [*command, "-s", HERE / "load.lua", url, "--", file.name],
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
        requests=figures["requests"],
    )
