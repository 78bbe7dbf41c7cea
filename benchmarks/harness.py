"""A database of its own for a benchmark, and what its processes cost."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pids: Sequence[int]) -> float:
    """CPU seconds that processes have spent."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


@contextmanager
def database(server: str) -> Iterator[str]:
    """A database of its own, with our tables and the baselines'."""
    if server.startswith("sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/bench.sqlite3"
            _migrate(url)
            yield url
        return
    name = f"bench_{os.getpid()}"
    url = f"{server.rpartition('/')[0]}/{name}"
    _execute(server, f"CREATE DATABASE {name}")
    try:
        _migrate(url)
        yield url
    finally:
        _execute(server, f"DROP DATABASE {name}")


def _migrate(url: str) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "from django.db import connection\n"
        "call_command('migrate', verbosity=0)\n"
        "from benchmarks.site.tables import TABLE\n"
        "connection.cursor().execute(TABLE[connection.vendor])\n"
    )
    python(code, url)


def _execute(url: str, sql: str) -> None:
    code = (
        "import django; django.setup()\nfrom django.db import connection\n"
        f"connection.cursor().execute({sql!r})\n"
    )
    python(code, url)


def python(code: str, url: str) -> None:
    """Run code in a process of the site."""
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    variables = environment(url, "memory://", secret)
    subprocess.run([sys.executable, "-c", code], env=variables, check=True)  # noqa: S603 - our own


def environment(url: str, broker: str, secret: str) -> dict[str, str]:
    """The variables of a process of the site."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings",
        "BENCH_DATABASE_URL": url,
        "BENCH_BROKER_URL": broker,
        "BENCH_SECRET": secret,
        "PYTHONPATH": str(HERE.parent),
    }
