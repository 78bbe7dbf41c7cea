"""A database of its own for a benchmark, and what its processes cost."""

from __future__ import annotations

import base64
import itertools
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
PACKAGES = ("Django", "celery", "psycopg")
_numbers = itertools.count()


def facts(url: str, *packages: str) -> str:
    """The machine, and the versions of what was measured, of these ``packages`` too."""
    model = next(
        (
            line.partition(": ")[2]
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    server = asked(
        "from django.db import connection\n"
        "word = 'sqlite_version()' if connection.vendor == 'sqlite' else 'version()'\n"
        "cursor = connection.cursor(); cursor.execute(f'SELECT {word}')\n"
        "said = cursor.fetchone()[0].removeprefix('PostgreSQL ').split(' ')[0]\n"
        "print(connection.display_name, said)\n",
        url,
    )
    versions = ", ".join(f"{name} {version(name)}" for name in (*PACKAGES, *packages))
    return (
        f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {server}; "
        f"Python {platform.python_version()}, {versions}"
    )


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
    name = f"bench_{os.getpid()}_{next(_numbers)}"
    url = f"{server.rpartition('/')[0]}/{name}"
    _execute(server, f"CREATE DATABASE {name}")
    try:
        _migrate(url)
        yield url
    finally:
        _execute(server, f"DROP DATABASE {name}")


def _migrate(url: str) -> None:
    code = (
        "from django.core.management import call_command\n"
        "from django.db import connection\n"
        "call_command('migrate', verbosity=0)\n"
        "from benchmarks.site.tables import TABLE\n"
        "connection.cursor().execute(TABLE[connection.vendor])\n"
    )
    python(code, url)


def _execute(url: str, sql: str) -> None:
    python(f"from django.db import connection\nconnection.cursor().execute({sql!r})\n", url)


def count(table: str, url: str) -> int:
    """How many rows a table has."""
    sql = f"SELECT count(*) FROM {table}"  # noqa: S608  # our own
    code = (
        f"from django.db import connection\ncursor = connection.cursor()\ncursor.execute({sql!r})"
    )
    return int(asked(f"{code}\nprint(cursor.fetchone()[0])\n", url))


def asked(code: str, url: str) -> str:
    """What code prints that runs in a process of the site."""
    done = _run(code, url, stdout=subprocess.PIPE)
    return str(done.stdout).strip()


def python(code: str, url: str) -> None:
    """Run code in a process of the site."""
    _run(code, url)


def _run(code: str, url: str, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    return subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-c", f"import django; django.setup()\n{code}"],
        env=environment(url, "memory://", secret),
        check=True,
        text=True,
        stdout=stdout,
    )


def environment(url: str, broker: str, secret: str, **more: str) -> dict[str, str]:
    """The variables of a process of the site."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings",
        "BENCH_DATABASE_URL": url,
        "BENCH_BROKER_URL": broker,
        "BENCH_SECRET": secret,
        "PYTHONPATH": str(HERE.parent),
        **more,
    }
