"""How long the list of dead letters takes, and a look whether there is something to tell of.

    python -m benchmarks.dead_letters --dead 100000 --groups 50 --database postgres

Makes a database of its own on the servers of the tests, and removes it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

import django
from django.db import connections

BATCH = 2000
TIMES = 7


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dead", type=int, default=100_000)
    parser.add_argument("--others", type=int, default=100_000, help="runs that succeeded")
    parser.add_argument("--groups", type=int, default=50)
    parser.add_argument(
        "--database", action="append", choices=("default", "postgres", "mariadb"), default=[]
    )
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    for alias in options.database or ["postgres"]:
        connections[alias].creation.create_test_db(verbosity=0, serialize=False)
        try:
            router: Any = importlib.import_module("tests.site.routers")
            router.ActiveAlias.alias = alias
            _fill(alias, options.dead, options.others, options.groups)
            _measure(alias)
        finally:
            connections[alias].creation.destroy_test_db("x", verbosity=0)


def _fill(alias: str, dead: int, others: int, groups: int) -> None:
    from gemini_webhooks import clock  # noqa: PLC0415  # Django has to be set up before
    from gemini_webhooks.models import ReceiverRun, WebhookDelivery  # noqa: PLC0415  # likewise

    now = clock.now()

    def deliveries() -> Iterator[WebhookDelivery]:
        for number in range(dead + others):
            yield WebhookDelivery(
                pk=number + 1,
                webhook_id=f"evt_{number}",
                signing="hmac",
                event_type="batch.succeeded",
                state="failed" if number < dead else "processed",
                body=b"{}",
            )

    def runs() -> Iterator[ReceiverRun]:
        for number in range(dead + others):
            group = number % groups
            is_dead = number < dead
            yield ReceiverRun(
                delivery_id=number + 1,
                receiver=f"shop.receivers.number_{group % 10}",
                state="dead" if is_dead else "succeeded",
                attempts=8,
                last_error=f"KeyError: {number} " + "x" * 80 if is_dead else "",
                error_class=f"shop.errors.Number{group}" if is_dead else "",
                finished_at=now - timedelta(seconds=number),
            )

    for rows in (deliveries(), runs()):
        while batch := list(islice(rows, BATCH)):
            type(batch[0])._default_manager.using(alias).bulk_create(batch)
    with connections[alias].cursor() as cursor:
        words = {"postgresql": "VACUUM ANALYZE", "mysql": "ANALYZE TABLE"}
        if word := words.get(connections[alias].vendor):
            cursor.execute(f"{word} gemini_webhooks_receiverrun")


def _measure(alias: str) -> None:
    from gemini_webhooks import clock, failures  # noqa: PLC0415  # likewise
    from gemini_webhooks.deliveries import dead_letters  # noqa: PLC0415  # likewise

    now = clock.now()
    group = failures.groups(limit=1)[0]
    _timed(alias, "all groups", failures.groups)
    _timed(alias, "one group", lambda: failures.group(*group.key))
    _timed(alias, "its latest deliveries", lambda: failures.latest(group, 20))
    _timed(
        alias,
        "whether there is something to tell of",
        lambda: dead_letters.news(since=now, until=now, now=now, limit=200),
    )


def _timed(alias: str, what: str, do: Callable[[], object]) -> None:
    took: list[float] = []
    for _ in range(TIMES):
        started = time.perf_counter()
        do()
        took.append(time.perf_counter() - started)
    median = statistics.median(took) * 1000
    sys.stdout.write(
        f"{alias}: {what}: median {median:.0f} ms, at most {max(took) * 1000:.0f} ms\n"
    )


if __name__ == "__main__":
    main()
