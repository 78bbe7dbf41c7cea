"""Looks all the time who waits for a lock in PostgreSQL, and for how long."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Self

import psycopg

from chaos.servers import Postgres
from chaos.stack import MIGRATION

LOOK_SECONDS = 0.02
#: ``virtualxid`` is how an index that is built concurrently waits for older transactions.
WAITING = """
SELECT a.application_name = %s, coalesce(l.relation::regclass::text, 'older transactions'),
    extract(epoch FROM clock_timestamp() - l.waitstart)::float
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.locktype IN ('relation', 'virtualxid') AND l.waitstart IS NOT NULL
"""


class Locks:
    """The longest waits that were seen, for use in a ``with`` statement.

    Attributes:
        app: seconds that a process of the site waited for a table, by table.
        migration: seconds that the migration waited, by what it waited for.
    """

    def __init__(self, postgres: Postgres) -> None:
        self.app: dict[str, float] = {}
        self.migration: dict[str, float] = {}
        self._postgres = postgres
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="locks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        with suppress(psycopg.Error), self._postgres.connect() as connection:
            while not self._ended.wait(LOOK_SECONDS):
                for ours, what, seconds in connection.execute(WAITING, [MIGRATION]):
                    longest = self.migration if ours else self.app
                    longest[what] = max(seconds, longest.get(what, 0))
