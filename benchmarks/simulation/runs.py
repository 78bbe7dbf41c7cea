"""Real runs, to compare with what the simulation says of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from benchmarks.costs import handling, processes
from benchmarks.costs.receiving import CONNECTIONS, PROCESSES, ROWS, THREADS, VIEWS, load
from benchmarks.costs.site import Site, wait, web, worker

CHILDREN = 2


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was measured.

    Attributes:
        rate: requests or deliveries per second.
        others: cores that were busy with other things meanwhile.
    """

    rate: float
    others: float


@dataclass
class _Watched:
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    others: float = 0.0


def receive(site: Site, name: str, *, seconds: float) -> Run:
    """Requests to one of the views, as fast as they are answered."""
    site.empty()
    with (
        web(site, count=PROCESSES, threads=THREADS) as (address, pids),
        load(site, f"{address}{VIEWS[name]}", seconds + 5, CONNECTIONS) as generator,
    ):
        warm = site.number(ROWS[name]) + 500
        wait(lambda: site.number(ROWS[name]) >= warm, f"{name} answers nothing")
        parts: processes.Parts = {"own": lambda: processes.cpu([*pids, generator.pid])}
        with _watched(site, parts) as watched:
            first = site.number(ROWS[name])
            time.sleep(seconds)
            number = site.number(ROWS[name]) - first
    return Run(rate=number / watched.seconds, others=watched.others)


def handle(site: Site, name: str, *, number: int) -> Run:
    """Work off what waits, between a tenth of it and all."""
    done = handling.BARE_DONE if name == "bare task" else handling.DONE
    _fill(site, name, number)
    with worker(site, count=CHILDREN) as main:
        wait(lambda: site.number(done) >= number // 10, "the worker does not begin")
        parts: processes.Parts = {"own": lambda: processes.cpu([main, *processes.children(main)])}
        with _watched(site, parts) as watched:
            first = site.number(done)
            wait(lambda: site.number(done) >= number, "the worker does not get on")
    return Run(rate=(number - first) / watched.seconds, others=watched.others)


def _fill(site: Site, name: str, number: int) -> None:
    """Have messages wait."""
    site.empty()
    if name == "bare task":
        site.python(handling.PUBLISH_BARE, str(number))
        return
    site.python(handling.STORE, "run", str(number), handling.TYPES[name])
    site.python(handling.PUBLISH)


@contextmanager
def _watched(site: Site, own: processes.Parts) -> Iterator[_Watched]:
    """How long a block took, and how busy the machine was with other things."""
    parts: processes.Parts = {
        **own,
        "database": partial(processes.database, site.database),
        "broker": processes.broker,
    }
    spent, busy = processes.read(parts), processes.busy()
    watched = _Watched()
    yield watched
    watched.seconds = time.perf_counter() - watched.began
    own_seconds = sum(processes.since(spent, parts).values())
    watched.others = max(0.0, processes.busy() - busy - own_seconds) / watched.seconds


def slowdown(run: Run) -> float:
    """How much longer everything took because of others."""
    cores = os.cpu_count() or 1
    return cores / max(0.1, cores - run.others)
