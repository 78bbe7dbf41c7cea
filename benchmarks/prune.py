"""How long requests take while a million old rows are pruned beside them.

    python -m benchmarks.prune --database postgres://postgres@127.0.0.1:5432/postgres

It makes a database of its own on that server, fills it, measures and drops it. Requests go in
through the view, signed, one after the other at a steady rate, from a process of their own; one
that takes long delays the next ones, and that delay counts as theirs.
"""

# ruff: noqa: PLC0415  # models can be imported once Django is set up

from __future__ import annotations

import argparse
import base64
import importlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from hmac import digest
from multiprocessing.connection import Connection
from typing import Any

import dj_database_url
import django
from celery import Celery
from django.conf import settings
from django.db import connection
from django.test import Client

KEY = b"benchmark" * 4
NAME = "gemini_webhooks_benchmark"
#: Ages in days: half of the rows are to be deleted, half are to lose their content.
OLD, YOUNG = (730, 366), (364, 31)
BODY_BYTES = 1000
PATTERNS, CHUNK = 97, 50_000
NUMBERS = {
    "postgresql": "generate_series({}, {}) AS s(n)",
    "mysql": "(SELECT seq AS n FROM seq_{}_to_{}) AS s",
    "sqlite": "(WITH RECURSIVE c(n) AS (SELECT {} UNION ALL SELECT n + 1 FROM c WHERE n < {})"
    " SELECT n FROM c) AS s",
}
AGO = {
    "postgresql": "now() - ({0}) * interval '1 second'",
    "mysql": "utc_timestamp(6) - interval ({0}) second",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ({0}) || ' seconds')",
}


def main() -> int:
    """Fill, measure, print."""
    options = _options()
    configure(options.database)
    with _database(keep=options.keep):
        if options.rows:
            started = time.monotonic()
            fill(options.rows)
            say(f"filled in {time.monotonic() - started:.0f} s")
        measured = _measure(options)
    for line in measured.lines():
        say(line)
    if options.json:
        say(json.dumps(vars(measured)))
    return 0


def configure(database: str) -> None:
    """Set Django up, with a broker in memory."""
    pymysql: Any = importlib.import_module("pymysql")  # it has no types
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()
    default = dj_database_url.parse(database)
    default["TEST"] = {"NAME": NAME}
    if "sqlite" in default["ENGINE"]:
        default["TEST"]["NAME"] = default["NAME"]
        default["OPTIONS"] = {
            "timeout": 60,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL",
        }
    Celery("benchmarks", broker="memory://").set_default()
    settings.configure(
        SECRET_KEY="benchmarks-only-" + "k" * 50,
        DATABASES={"default": default},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "gemini_webhooks"],
        ROOT_URLCONF="benchmarks.urls",
        ALLOWED_HOSTS=["*"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        GEMINI_WEBHOOKS={"SIGNING_SECRETS": ["whsec_" + base64.b64encode(KEY).decode()]},
    )
    django.setup()


@contextmanager
def _database(*, keep: bool) -> Iterator[None]:

    usual = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False, keepdb=keep)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(usual, verbosity=0, keepdb=keep)


def fill(number: int) -> None:
    """Deliveries with a body, a run and an attempt each, spread over two years."""
    from gemini_webhooks import clock
    from gemini_webhooks.models import Attempt, ReceiverRun, WebhookDelivery

    fill_deliveries(number)
    run = ReceiverRun(delivery=None, receiver="benchmark", state="succeeded")
    attempt = Attempt(
        number=1, trigger="delivery", started=clock.now(), outcome="failed", traceback="x" * 500
    )
    _one_each(run, "delivery_id", WebhookDelivery)
    _one_each(attempt, "run_id", ReceiverRun)
    for model in (ReceiverRun, Attempt):
        _analyze(model)


def fill_deliveries(number: int) -> None:
    """Deliveries alone, all of them done."""
    from gemini_webhooks.models import WebhookDelivery

    patterns = [_pattern(position) for position in range(PATTERNS)]
    WebhookDelivery.objects.bulk_create(patterns)
    first = WebhookDelivery.objects.order_by("pk").first()
    if first is None:
        raise RuntimeError("nothing was stored")
    chosen = {
        "webhook_id": _joined("'msg_'", "s.n"),
        "resource_id": _joined("'batch-'", "s.n"),
        "received_at": AGO[connection.vendor].format(_age(number)),
    }
    for start in range(0, number, CHUNK):
        last = min(start + CHUNK, number) - 1
        numbers = NUMBERS[connection.vendor].format(start, last)
        which = f"t.id = {first.pk} + s.n % {PATTERNS}"
        _insert(WebhookDelivery, chosen, f"{numbers} JOIN {{table}} t ON {which}")
    WebhookDelivery.objects.filter(webhook_id__startswith="pattern").delete()
    _analyze(WebhookDelivery)


def _analyze(model: Any) -> None:
    table = model._meta.db_table
    words = {"mysql": f"ANALYZE TABLE {table}", "postgresql": f"VACUUM ANALYZE {table}"}
    with connection.cursor() as cursor:
        cursor.execute(words.get(connection.vendor, "ANALYZE"))


def _pattern(position: int) -> Any:
    from gemini_webhooks.models import WebhookDelivery

    noise = os.urandom(BODY_BYTES // 2).hex()
    return WebhookDelivery(
        webhook_id=f"pattern {position}",
        signing="hmac",
        event_type="batch.succeeded",
        user_metadata={"tenant": f"t{position % 50}"},
        state="processed",
        body=json.dumps({"type": "batch.succeeded", "data": noise}).encode(),
        size=BODY_BYTES,
    )


def _age(number: int) -> str:
    """How many seconds old the n-th of so many rows is, in SQL."""
    (oldest, old), (young, youngest) = OLD, YOUNG
    share = f"(s.n * 2.0 / {number})"
    return (
        f"CASE WHEN {share} < 1 THEN 86400 * ({oldest} - {share} * {oldest - old})"
        f" ELSE 86400 * ({young} - ({share} - 1) * {young - youngest}) END"
    )


def _joined(*parts: str) -> str:
    return f"concat({', '.join(parts)})" if connection.vendor == "mysql" else " || ".join(parts)


def _one_each(row: Any, reference: str, model: Any) -> None:
    """One row like ``row`` for each row of ``model``."""
    setattr(row, reference, model.objects.order_by("pk").values_list("pk", flat=True)[0])
    row.save()
    newest = model.objects.order_by("-pk").values_list("pk", flat=True)[0]
    for start in range(0, newest + 1, CHUNK):
        which = f"o.id >= {start} AND o.id < {start + CHUNK} AND o.id <> t.{reference}"
        source = f"{model._meta.db_table} o JOIN {{table}} t ON t.id = {row.pk} AND {which}"
        _insert(type(row), {reference: "o.id"}, source)


def _insert(model: Any, chosen: Mapping[str, str], source: str) -> None:
    """Copy rows ``t`` of the model's table, but for the columns that are chosen anew."""
    names = [field.column for field in model._meta.local_fields if not field.primary_key]
    table, quote = model._meta.db_table, connection.ops.quote_name
    columns = ", ".join(map(quote, names))
    values = ", ".join(chosen.get(name, f"t.{quote(name)}") for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {values} FROM {source.format(table=table)}"  # noqa: S608  # names of our own
        )


class Measured:
    """What came out, with what it came out of."""

    def __init__(self) -> None:

        with connection.cursor() as cursor:
            sqlite = connection.vendor == "sqlite"
            cursor.execute("SELECT sqlite_version()" if sqlite else "SELECT version()")
            self.server = f"{connection.display_name} {cursor.fetchone()[0].split(',')[0]}"
        self.machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.platform()}"
        self.versions = f"Python {platform.python_version()}, Django {django.get_version()}"
        self.load = round(os.getloadavg()[1], 1)
        self.seconds = 0.0
        self.pruned: dict[str, Any] = {}
        self.requests: dict[str, dict[str, float]] = {}

    def note(self, when: str, seconds: list[float]) -> None:
        """The times of the requests of one phase, in milliseconds."""
        times = sorted(one * 1000 for one in seconds)
        self.requests[when] = {
            "requests": len(times),
            "median_ms": round(statistics.median(times), 1),
            "p99_ms": round(times[int(len(times) * 0.99)], 1),
            "max_ms": round(times[-1], 1),
        }

    def lines(self) -> Iterator[str]:
        """For people, and for Markdown."""
        yield f"{self.server}; {self.machine}, load {self.load} at first; {self.versions}"
        yield f"pruned in {self.seconds:.0f} s: {self.pruned}"
        yield "| requests | number | median | p99 | max |"
        yield "| --- | --- | --- | --- | --- |"
        for when, row in self.requests.items():
            yield (
                f"| {when} | {row['requests']} | {row['median_ms']} ms | {row['p99_ms']} ms"
                f" | {row['max_ms']} ms |"
            )


def _measure(options: argparse.Namespace) -> Measured:

    from gemini_webhooks.retention import prune

    measured = Measured()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    sender = context.Process(
        target=send, args=(options.database, options.rate, theirs), daemon=True
    )
    sender.start()
    ours.recv()  # it is ready
    try:
        time.sleep(options.seconds)
        measured.note("before", _so_far(ours))
        started, told = time.monotonic(), [time.monotonic()]

        def tell(kind: str, done: int) -> None:
            if time.monotonic() - told[0] > 30:
                told[0] = time.monotonic()
                say(f"{kind}: {done}")

        pruned = prune(tell=tell)
        measured.seconds = time.monotonic() - started
        measured.pruned = {name: count for name, count in asdict(pruned).items() if count}
        measured.note("while pruning", _so_far(ours))
        time.sleep(options.seconds)
        measured.note("after", _so_far(ours))
    finally:
        ours.send(None)
        sender.join(60)
    return measured


def _so_far(pipe: Connection) -> list[float]:
    pipe.send("so far")
    seconds: list[float] = pipe.recv()
    return seconds


def send(database: str, rate: float, pipe: Connection) -> None:
    """Send requests until told to end; the body of the sending process."""
    configure(database)

    connection.settings_dict["NAME"] = connection.settings_dict["TEST"]["NAME"]
    client = Client()
    for _ in range(20):
        _post(client)
    seconds: list[float] = []
    pipe.send("ready")
    due = time.monotonic()
    while True:
        if pipe.poll():
            if pipe.recv() is None:
                return
            pipe.send(seconds)
            seconds = []
        time.sleep(max(0, due - time.monotonic()))
        _post(client)
        seconds.append(time.monotonic() - due)
        due = max(due + 1 / rate, time.monotonic() - 5)


def _post(client: Any) -> None:
    body = json.dumps(
        {"type": "batch.succeeded", "data": {"id": uuid.uuid4().hex, "note": "x" * BODY_BYTES}}
    ).encode()
    webhook_id, now = uuid.uuid4().hex, int(time.time())
    signed = digest(KEY, f"{webhook_id}.{now}.".encode() + body, "sha256")
    answer = client.post(
        "/webhooks/gemini/",
        data=body,
        content_type="application/json",
        headers={
            "webhook-id": webhook_id,
            "webhook-timestamp": str(now),
            "webhook-signature": "v1," + base64.b64encode(signed).decode(),
        },
    )
    if answer.status_code != 200:
        raise RuntimeError(f"answered {answer.status_code}: {answer.content!r}")


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--database", required=True, help="URL of a server, or of a file")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="deliveries to add (%(default)s)"
    )
    parser.add_argument(
        "--keep", action="store_true", help="use the database of the last time, and keep it"
    )
    parser.add_argument("--rate", type=float, default=20, help="requests per second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="before and after (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
