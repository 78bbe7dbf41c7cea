"""How long the backlog takes to read, with many rows and much that waits.

    python -m benchmarks.backlog --rows 1000000 --database postgres --database mariadb

Makes a database of its own on the servers of the tests, and removes it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
from typing import Any

import django
from django.db import connections

NUMBERS = {
    "postgres": "SELECT n FROM generate_series(1, {rows}) AS n",
    "mariadb": "SELECT seq AS n FROM seq_1_to_{rows}",
}
BODY = {"postgres": "convert_to('{}', 'UTF8')", "mariadb": "'{}'"}
AGO = {
    "postgres": "now() - ({0}) * interval '1 second'",
    "mariadb": "utc_timestamp(6) - interval ({0}) second",
}
#: One row in ten is not taken up, one has runs to do; the others are done.
STATES = "CASE n % 10 WHEN 0 THEN 'received' WHEN 1 THEN 'processing' ELSE 'processed' END"
#: One run in ten each is due, to be tried again later, parked, dead; the others are done.
RUN_STATES = (
    "CASE n % 10 WHEN 0 THEN 'pending' WHEN 1 THEN 'retrying' WHEN 2 THEN 'pending' "
    "WHEN 3 THEN 'dead' ELSE 'succeeded' END"
)
TIMES = 7


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", action="append", choices=sorted(NUMBERS))
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    for alias in options.database or ["postgres"]:
        connections[alias].creation.create_test_db(verbosity=0, serialize=False)
        try:
            _fill(alias, options.rows)
            _measure(alias)
        finally:
            connections[alias].creation.destroy_test_db("x", verbosity=0)


def _fill(alias: str, rows: int) -> None:
    ago, trigger, false = AGO[alias], "trigger", "false"
    if alias == "mariadb":
        trigger = "`trigger`"
    delivery = {
        "id": "n",
        "webhook_id": "concat('m', n)",
        "signing": "'hmac'",
        "binding": "''",
        "sealed": false,
        "key_hint": "''",
        "event_type": "'batch.succeeded'",
        "resource_id": "concat('b', n)",
        "user_metadata": "'{}'",
        "received_at": ago.format("n / 10"),
        "state": STATES,
        "body": BODY[alias],
        "size": "2",
        "duplicate_count": "0",
        "source": "'webhook'",
        "sweep_at": ago.format("n / 20"),
    }
    next_attempt = f"WHEN 0 THEN {ago.format('n / 100')} WHEN 1 THEN {ago.format('-n')}"
    run = {
        "id": "n",
        "delivery_id": "n",
        "receiver": "'r'",
        "queue": "''",
        "lane": "CASE n % 10 WHEN 2 THEN 'lane' ELSE '' END",
        "state": RUN_STATES,
        "attempts": "0",
        "last_error": "''",
        trigger: "'delivery'",
        "actor": "''",
        "is_replay": false,
        "claim": "''",
        "sweeps": "n % 5",
        "created_at": "now()",
        "next_attempt_at": f"CASE n % 10 {next_attempt} END",
        "parked_at": f"CASE n % 10 WHEN 2 THEN {ago.format('n / 100')} END",
    }
    with connections[alias].cursor() as cursor:
        for table, columns in (("webhookdelivery", delivery), ("receiverrun", run)):
            cursor.execute(
                f"INSERT INTO gemini_webhooks_{table} ({', '.join(columns)})"  # noqa: S608  # all our own
                f" SELECT {', '.join(columns.values())} FROM ({NUMBERS[alias].format(rows=rows)}) x"
            )
            word = "ANALYZE" if alias == "postgres" else "ANALYZE TABLE"
            cursor.execute(f"{word} gemini_webhooks_{table}")


def _measure(alias: str) -> None:
    router: Any = importlib.import_module("tests.site.routers")
    figures: Any = importlib.import_module("gemini_webhooks.trends.waiting")
    router.ActiveAlias.alias = alias
    took: list[float] = []
    slowest: dict[str, float] = {}

    def timed(execute: Any, sql: str, *rest: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, *rest)
        finally:
            took_now = time.perf_counter() - started
            slowest[sql] = max(took_now, slowest.get(sql, 0.0))

    for _ in range(TIMES):
        started = time.perf_counter()
        found = figures.read()
        took.append(time.perf_counter() - started)
    with connections[alias].execute_wrapper(timed):
        figures.read()
    sys.stdout.write(f"{alias}: {found}\n")
    sys.stdout.write(
        f"{alias}: median {statistics.median(took) * 1000:.0f} ms, first {took[0] * 1000:.0f} ms\n"
    )
    for sql, seconds in sorted(slowest.items(), key=lambda item: -item[1])[:5]:
        sys.stdout.write(f"  {seconds * 1000:6.1f} ms  {sql[:230]}\n")


if __name__ == "__main__":
    main()
