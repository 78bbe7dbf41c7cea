"""Measures everything, and writes it down."""

from __future__ import annotations

import argparse
import base64
import os
import platform
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from benchmarks import costs as package
from benchmarks.costs import handling, receiving, servers, sizes, structure
from benchmarks.costs.site import Site
from benchmarks.harness import database
from benchmarks.simulation import costs

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
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with database(options.database) as url:
        queue = f"costs-{os.getpid()}"
        site = Site(url=url, broker=options.broker, queue=queue, secret=secret)
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
    requests = _told(
        "requests", lambda: receiving.measure(site, seconds=seconds, send=of_servers.send)
    )
    work = _told("work", lambda: handling.measure(site, structures, number=number))
    message = structures["one receiver"].message
    return costs.Costs(
        measured_on=_here(site),
        requests=requests,
        work=work,
        servers=of_servers,
        sizes=_told("sizes", lambda: sizes.measure(site, number=min(number, 200), message=message)),
    )


def _told(what: str, measured: Callable[[], T]) -> T:
    begun = time.monotonic()
    found = measured()
    sys.stderr.write(f"{what}: {time.monotonic() - begun:.0f} s\n")
    return found


def _here(site: Site) -> str:
    """The machine and the versions, in a line."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    server = int(site.number("SELECT current_setting('server_version_num')::int"))
    packages = ", ".join(f"{name} {version(name)}" for name in ("Django", "celery", "gunicorn"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({models[0]}), Python "
        f"{platform.python_version()}, {packages}, PostgreSQL {server // 10000}.{server % 10000}"
    )


if __name__ == "__main__":
    main()
