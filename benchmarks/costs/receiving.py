"""CPU of one request, by part."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import fmean

from benchmarks.costs import processes
from benchmarks.costs.site import MICRO, Site, wait, web
from benchmarks.harness import HERE
from benchmarks.simulation.costs import Request
from benchmarks.traffic import new_ids, signed

VIEWS = {"ours": "/ours/", "V": "/v/", "N": "/n/"}
#: Counts rows without reading the table.
ROWS = {
    "ours": "SELECT last_value FROM gemini_webhooks_webhookdelivery_id_seq",
    "V": "SELECT last_value FROM bench_event_id_seq",
    "N": "SELECT last_value FROM bench_event_id_seq",
}
#: As `python -m benchmarks.ingest` has them: on a machine that is as busy, the same work takes up
#: to half as much CPU time again as on one that has little else to do.
PROCESSES, THREADS, CONNECTIONS = 2, 4, 16
#: Requests that do not count.
WARM_UP = 100
#: No site answers more in a second.
MOST_PER_SECOND = 3000


def measure(site: Site, *, seconds: float, send: float) -> tuple[dict[str, Request], float]:
    """Of each view; and the share of the cores that stayed idle, on the average of all views.

    Args:
        site: what is measured.
        seconds: how long each is under load.
        send: CPU of sending one message, in microseconds.
    """
    with web(site, count=PROCESSES, threads=THREADS) as (address, pids):
        found = {name: _one(site, address, pids, name, seconds) for name in ROWS}
    idle = fmean(spent["idle"] for spent in found.values())
    return {name: _request(name, spent, send) for name, spent in found.items()}, idle


def _request(name: str, spent: dict[str, float], send: float) -> Request:
    is_packed = name == "ours"
    messages = spent["messages"]
    return Request(
        generator=spent["generator"],
        web=spent["web"] - (send * messages if is_packed else 0),
        database=spent["database"],
        broker=0 if is_packed else max(0.0, spent["broker"]),
        messages=0 if is_packed else round(messages),
        is_packed=is_packed,
    )


def _one(site: Site, address: str, pids: list[int], name: str, seconds: float) -> dict[str, float]:
    """Microseconds of each part, and messages, for one request; and what was idle."""
    site.empty()
    parts: processes.Parts = {
        "web": lambda: processes.cpu(pids),
        "database": partial(processes.database, site.database),
        "broker": processes.broker,
    }
    with load(site, f"{address}{VIEWS[name]}", seconds + 5, CONNECTIONS) as generator:
        warm = site.number(ROWS[name]) + WARM_UP
        wait(lambda: site.number(ROWS[name]) >= warm, f"{name} answers nothing")
        rows, messages = site.number(ROWS[name]), site.waiting()
        all_parts = {"generator": lambda: processes.cpu([generator.pid]), **parts}
        before, busy, begun = processes.read(all_parts), processes.busy(), time.perf_counter()
        time.sleep(seconds)
        spent = processes.since(before, all_parts)
        used = (processes.busy() - busy) / (time.perf_counter() - begun)
        answered = site.number(ROWS[name]) - rows
        sent = site.waiting() - messages
    return {part: seconds / answered * MICRO for part, seconds in spent.items()} | {
        "messages": sent / answered,
        "idle": max(0.0, 1 - used / (os.cpu_count() or 1)),
    }


@contextmanager
def load(
    site: Site, url: str, seconds: float, connections: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Send what is new until the end of the block."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        number = int(seconds * MOST_PER_SECOND)
        file.writelines(signed(site.secret, new_ids(number)))
        file.flush()
        words = ["-t1", f"-c{connections}", "-d600s", "-s", str(HERE / "load.lua"), url]
        generator = subprocess.Popen(  # noqa: S603  # our own
            ["wrk", *words, "--", file.name],  # noqa: S607  # wherever it is installed
            stdout=subprocess.DEVNULL,
        )
        try:
            yield generator
        finally:
            generator.kill()
            generator.wait()
