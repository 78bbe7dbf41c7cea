"""How long INSERTs wait while the tables are migrated: no site, only who writes as one would."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql  # type: ignore[import-untyped]  # ships none

from chaos.experiment import remove
from chaos.processes import ChaosError, Processes
from chaos.sender import SLOW_SECONDS
from chaos.servers import LOOPBACK, Postgres
from chaos.stack import PROJECT
from chaos.upgrade import filling, versions
from chaos.upgrade.filling import Table
from chaos.upgrade.options import UpgradeOptions

Connect = Callable[[], Any]
WRITERS = 4
#: Between two rows of a writer: some hundred rows a second, not all that the machine can.
PAUSE_SECONDS = 0.01
#: Let it take the quotes of standard SQL.
QUOTES = "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')"
MARIADB_URL = "mysql://root@127.0.0.1:3306"


@dataclass(frozen=True, kw_only=True)
class BareReport:
    """How long writing took, without and with a migration.

    Attributes:
        before, during: seconds of the longest INSERT into each table.
        rows_written: during the migration.
        errors: what writers got to hear instead.
    """

    options: UpgradeOptions
    fill_seconds: float
    migration_seconds: float
    before: Mapping[str, float]
    during: Mapping[str, float]
    rows_written: int
    errors: Sequence[str]

    @property
    def good(self) -> bool:
        """Whether no writer had to wait for long."""
        return not self.errors and max(self.during.values(), default=0) <= SLOW_SECONDS

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"good": self.good, **asdict(self), "options": self.options.as_json()}

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{'Longest INSERT, seconds':<34}{'before':>9}{'during':>9}"]
        lines += [
            f"{table:<34}{self.before.get(table, 0):>9.3f}{seconds:>9.3f}"
            for table, seconds in self.during.items()
        ]
        return [
            *lines,
            "",
            f"{'Rows before, in each table':<34}{self.options.rows:>9}",
            f"{'Seconds of the migration':<34}{self.migration_seconds:>9.1f}",
            f"{'Rows written meanwhile':<34}{self.rows_written:>9}",
            *self.errors,
            "",
            "Nobody waited for long." if self.good else "FAILED.",
        ]


def measure(options: UpgradeOptions, say: Callable[[str], None]) -> BareReport:
    """Fill, write, and migrate meanwhile.

    Raises:
        ChaosError: it could not be tried.
    """
    versions.commit(options.old)
    folder = Path(tempfile.mkdtemp(prefix="gemini-upgrade-"))
    folder.chmod(0o711)  # PostgreSQL is another user, and passes through
    database = _postgres if options.bare == "postgres" else _mariadb
    try:
        with (
            Processes(folder / "logs") as processes,
            database(processes, folder) as (entry, connect),
        ):
            return _measure(options, processes, folder, entry, connect, say)
    finally:
        if not options.keep:
            remove(folder)


def _measure(
    options: UpgradeOptions,
    processes: Processes,
    folder: Path,
    entry: dict[str, Any],
    connect: Connect,
    say: Callable[[str], None],
) -> BareReport:
    def migrate(revision: str | None, name: str) -> float:
        code = versions.export(revision, folder / name)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{code}{os.pathsep}{PROJECT}",
            "DJANGO_SETTINGS_MODULE": "chaos.upgrade.settings",
            "CHAOS_DATABASE": json.dumps(entry),
        }
        versions.check(processes, environment, code)
        started = time.monotonic()
        processes.run_python(environment, "-m", "django", "migrate", "--verbosity", "0")
        return time.monotonic() - started

    assert options.bare  # noqa: S101  # who calls has looked
    migrate(options.old, "old")
    schema = "public" if options.bare == "postgres" else entry["NAME"]
    started = time.monotonic()
    with closing(connect()) as connection, connection.cursor() as cursor:
        filling.fill(cursor, options.bare, schema, options.rows)
        tables = filling.tables(cursor, options.bare, schema)
    filled = time.monotonic() - started
    say(f"filled with {options.rows} rows each, in {filled:.0f} s")
    with _Writers(connect, tables, options.rows) as writers:
        time.sleep(options.seconds)
        before = writers.take()
        seconds = migrate(options.new, "new")
        during = writers.take()
    return BareReport(
        options=options,
        fill_seconds=round(filled, 1),
        migration_seconds=round(seconds, 1),
        before={table: max(took) for table, took in sorted(before.items())},
        during={table: max(took) for table, took in sorted(during.items())},
        rows_written=sum(len(took) for took in during.values()),
        errors=writers.errors,
    )


class _Writers:
    """Write rows as the version before does, for use in a ``with`` statement."""

    def __init__(self, connect: Connect, tables: Sequence[Table], rows: int) -> None:
        self.errors: list[str] = []
        self._connect = connect
        self._statements = {table.name: table.insert("SELECT %s AS n") for table in tables}
        self._numbers = itertools.count(rows + 1)
        self._took: dict[str, list[float]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._write, daemon=True) for _ in range(WRITERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def take(self) -> dict[str, list[float]]:
        """Seconds of each INSERT since the last time, by table."""
        with self._lock:
            taken, self._took = self._took, {}
        return taken

    def _write(self) -> None:
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            while not self._ended.wait(PAUSE_SECONDS):
                number = next(self._numbers)
                for table, statement in self._statements.items():
                    started = time.monotonic()
                    try:
                        cursor.execute(statement, [number])
                    except (psycopg.Error, pymysql.Error) as error:
                        self.errors.append(f"{table}: {error}")
                        break
                    took = time.monotonic() - started
                    with self._lock:
                        self._took.setdefault(table, []).append(took)


@contextmanager
def _postgres(processes: Processes, folder: Path) -> Iterator[tuple[dict[str, Any], Connect]]:
    """A cluster of its own."""
    postgres = Postgres(processes, folder / "postgres")
    entry = {"HOST": LOOPBACK, "PORT": postgres.port, "USER": "chaos", "NAME": "postgres"}
    yield {"ENGINE": "django.db.backends.postgresql", **entry}, postgres.connect


@contextmanager
def _mariadb(_: Processes, __: Path) -> Iterator[tuple[dict[str, Any], Connect]]:
    """A database of its own in the server that the tests use."""
    url = urlsplit(os.environ.get("TEST_MARIADB_URL", MARIADB_URL))
    name = f"gemini_upgrade_{os.getpid()}"
    login = {
        "host": url.hostname or LOOPBACK,
        "port": url.port or 3306,
        "user": unquote(url.username or "root"),
        "password": unquote(url.password or ""),
    }

    def connect(**more: str) -> Any:
        return pymysql.connect(**login, autocommit=True, init_command=QUOTES, **more)

    try:
        server = connect()
    except pymysql.Error as error:
        raise ChaosError(f"MariaDB does not answer: {error}") from None
    with closing(server), server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            entry = {"ENGINE": "django.db.backends.mysql", "NAME": name}
            entry |= {option.upper(): str(value) for option, value in login.items()}
            yield entry, lambda: connect(database=name)
        finally:
            with suppress(pymysql.Error):
                cursor.execute(f"DROP DATABASE {name}")
