"""The web servers that serve the benchmarks' site."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import environment

#: Two processes each. Under ASGI Django runs a view in a thread of the request.
SERVERS = {
    "gunicorn": "gunicorn benchmarks.site.wsgi --workers=2 --threads=4 --bind=127.0.0.1:{port}"
    " --log-level=warning --keep-alive=30",
    "uvicorn": "uvicorn benchmarks.site.asgi:application --workers=2 --port={port}"
    " --log-level=warning --no-access-log",
    "granian": "granian benchmarks.site.asgi:application --interface=asginl --workers=2"
    " --port={port} --log-level=warning --no-access-log",
}


@dataclass(frozen=True, kw_only=True)
class Served:
    """A site that is up: its address, and the process that began it."""

    address: str
    pid: int

    @property
    def pids(self) -> list[int]:
        """The processes that answer."""
        return descendants(self.pid)


@contextmanager
def served(
    url: str, broker: str, secret: str, server: str = "gunicorn", **variables: str
) -> Iterator[Served]:
    """Serve the site on the database ``url``; ``variables`` are of the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if server != "gunicorn":  # a thread for each request has no connection to keep
        variables.setdefault("BENCH_POOL", "8")
    process = subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-m", *SERVERS[server].format(port=port).split()],
        env=environment(url, broker, secret, **variables),
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(process, f"{address}/nothing")
        yield Served(address=address, pid=process.pid)
    finally:
        process.terminate()
        process.wait()


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    found: list[int] = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(url)  # noqa: S310  # loopback
        except urllib.error.HTTPError:
            time.sleep(1)  # for the other process
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{process.args!r} ended with {process.returncode}")
