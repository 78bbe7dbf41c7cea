"""Rows as a site has them after a long time, written by SQL on whatever columns there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Database = Literal["postgres", "mariadb"]
BODY_BYTES = 300
PORTION = 100_000
#: What a column holds that may not be null; ``n`` is the number of the row. All of it is done.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "gemini_webhooks_webhookdelivery": {
        "id": "n",
        "webhook_id": "concat('filler_', n)",
        "signing": "'hmac'",
        "event_type": "'interaction.completed'",
        "resource_id": "concat('filler-', n)",
        "state": "'processed'",
        "source": "'webhook'",
    },
    "gemini_webhooks_receiverrun": {
        "id": "n",
        "delivery_id": "n",
        "receiver": "'plain'",
        "state": "'succeeded'",
        "trigger": "'delivery'",
        "attempts": "1",
    },
    "gemini_webhooks_attempt": {
        "id": "n",
        "run_id": "n",
        "number": "1",
        "trigger": "'delivery'",
        "outcome": "'succeeded'",
    },
    "gemini_webhooks_job": {
        "id": "n",
        "resource_id": "concat('filler-', n)",
        "kind": "'interaction'",
        "state": "'succeeded'",
        "delivery_id": "n",
    },
}
#: What may be null and is not.
BODY = {
    "postgres": f"convert_to(repeat('x', {BODY_BYTES}), 'UTF8')",
    "mariadb": f"repeat('x', {BODY_BYTES})",
}
USUAL = {
    "jsonb": "'{}'",
    "longtext": "'{}'",  # JSON on MariaDB
    "boolean": "false",
    "timestamp with time zone": "now()",
    "datetime": "now()",
    "integer": "0",
    "bigint": "0",
    "smallint": "0",
    "int": "0",
    "tinyint": "0",
}
NEEDED = (
    "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
    " AND is_nullable = 'NO' AND column_default IS NULL AND table_schema NOT LIKE 'pg_%%'"
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """How to write rows of a table.

    Attributes:
        values: SQL for each column.
    """

    name: str
    values: Mapping[str, str]

    def insert(self, numbers: str) -> str:
        """SQL that writes a row for each ``n`` of the query ``numbers``."""
        columns, values = ", ".join(self._quoted), ", ".join(self.values.values())
        # All that is put together is in this module.
        source = f"SELECT {values} FROM ({numbers}) AS numbers"  # noqa: S608  # likewise
        return f"INSERT INTO {self.name} ({columns}) {source}"  # likewise

    @property
    def _quoted(self) -> Sequence[str]:
        # ``trigger`` is a word of SQL on MariaDB, which is set to take such quotes.
        return [f'"{name}"' for name in self.values]


def tables(cursor: Any, database: Database, schema: str) -> list[Table]:
    """The tables to fill, each after what it refers to, as they are now."""
    found = []
    for name, known in COLUMNS.items():
        cursor.execute(f"{NEEDED} AND table_schema = %s", [name, schema])
        values = {column: USUAL.get(kind, "''") for column, kind in cursor.fetchall()}
        values |= known
        if name.endswith("delivery"):
            values["body"] = BODY[database]
        found.append(Table(name=name, values=values))
    return found


def fill(cursor: Any, database: Database, schema: str, rows: int) -> None:
    """Write so many rows into each table, with the ids from 1 on."""
    for table in tables(cursor, database, schema):
        for first in range(1, rows + 1, PORTION):
            last = min(first + PORTION - 1, rows)
            numbers = {
                "postgres": f"SELECT generate_series({first}, {last}) AS n",
                "mariadb": f"SELECT seq AS n FROM seq_{first}_to_{last}",  # noqa: S608  # two numbers
            }
            cursor.execute(table.insert(numbers[database]))
        if database == "postgres":
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {rows})")
            cursor.execute(f"VACUUM ANALYZE {table.name}")
        else:
            cursor.execute(f"ANALYZE TABLE {table.name}")
