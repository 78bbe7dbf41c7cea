"""Measures everything, and writes it down."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks import costs as package
from benchmarks.costs import handling, receiving, servers, sizes, structure
from benchmarks.costs.site import Site
from benchmarks.harness import database, facts
from benchmarks.simulation import costs
from benchmarks.traffic import new_secret

T = TypeVar("T")


def main() -> None:
    """Measure, write, say where."""
    parser = argparse.ArgumentParser(description=package.__doc__)
    parser.add_argument(
        "--database", default="postgres://postgres@127.0.0.1:5432/postgres", metavar="URL"
    )
    parser.add_argument("--broker", default="amqp://guest:guest@127.0.0.1:5672//", metavar="URL")
    parser.add_argument("--seconds", type=float, default=5, help="for each view")
    parser.add_argument("--number", type=int, default=1000, help="of deliveries to handle")
    parser.add_argument("--output", type=Path, default=costs.FILE)
    options = parser.parse_args()
    with database(options.database) as url:
        queue = f"costs-{os.getpid()}"
        site = Site(url=url, broker=options.broker, queue=queue, secret=new_secret())
        try:
            found = measure(site, seconds=options.seconds, number=options.number)
        finally:
            site.close()
    found.save(options.output)
    sys.stdout.write(f"{options.output}\n")


def measure(site: Site, *, seconds: float, number: int) -> costs.Costs:
    """All costs, one after the other."""
    structures = {
        name: _told(f"structure, {name}", partial(structure.count, site, kind))
        for name, kind in handling.TYPES.items()
    }
    of_servers = _told("servers", lambda: servers.measure(site))
    requests, idle = _told(
        "requests", lambda: receiving.measure(site, seconds=seconds, send=of_servers.send)
    )
    rules = structure.rules(site)
    work = _told("work", lambda: handling.measure(site, structures, rules, number=number))
    message = structure.message_bytes(site)
    return costs.Costs(
        measured_on=f"{datetime.now(UTC):%Y-%m-%d}: {facts(site.url, 'gunicorn')}",
        requests=requests,
        work=work,
        rules=rules,
        servers=replace(of_servers, waking=idle),
        sizes=_told("sizes", lambda: sizes.measure(site, number=min(number, 200), message=message)),
    )


def _told(what: str, measured: Callable[[], T]) -> T:
    begun = time.monotonic()
    found = measured()
    sys.stderr.write(f"{what}: {time.monotonic() - begun:.0f} s\n")
    return found


if __name__ == "__main__":
    main()
