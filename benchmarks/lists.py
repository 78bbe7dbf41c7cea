"""How long the lists and pages of the admin take to open, with a million deliveries.

    python -m benchmarks.lists --database postgres://postgres@127.0.0.1:5432/postgres

It makes a database of its own on that server, fills it, opens each page several times and drops
it. ``--explain`` prints the plan of every query that took longer than so many milliseconds.
"""

# ruff: noqa: PLC0415  # models can be imported once Django is set up

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import dj_database_url
import django
from django.conf import settings
from django.db import connection
from django.test import Client

#: With ``--keep`` another process has to find it again.
NAME = "gemini_webhooks_benchmark_lists"
CHUNK = 100_000
DAYS = 90
NUMBERS = {
    "postgresql": "generate_series({}, {}) AS s(n)",
    "mysql": "(SELECT seq AS n FROM seq_{}_to_{}) AS s",
}
AGO = {
    "postgresql": "now() - ({0}) * interval '1 second'",
    "mysql": "utc_timestamp(6) - interval ({0}) second",
}
#: Row 0 is the newest. What is rare, and what there was long ago only, is what takes its time.
STATE = (
    "CASE WHEN n < 50 THEN 'received' WHEN n < 150 THEN 'processing' WHEN n % 70 = 0 THEN 'failed'"
    " WHEN n % 90 = 0 THEN 'ignored' WHEN n % 200000 = 7 THEN 'unreadable' ELSE 'processed' END"
)
TYPE = (
    "CASE WHEN n % 20000 = 3 THEN 'agent.finished' WHEN n % 200000 = 7 THEN ''"
    " WHEN n % 10 = 1 THEN 'interaction.completed' WHEN n % 10 = 2 THEN 'batch.failed'"
    " ELSE 'batch.succeeded' END"
)
SIGNING = "CASE WHEN n > {rows} * 0.95 THEN 'jwt' WHEN n % 50000 = 9 THEN 'none' ELSE 'hmac' END"
ENDPOINT = "CASE WHEN n > {rows} * 0.9 THEN {retired} WHEN n % 3 > 0 THEN {busy} END"
METADATA = (
    'concat(\'{{"tenant": "t\', n % 1000, \'", "group": "\', CASE n % 5 WHEN 0 THEN \'nightly\''
    " ELSE 'ad hoc' END, '\", \"customer\": {{\"id\": ', n, '}}}}')"
)
ABOUT = {"tenant": "t77", "common": "nightly", "unknown": "nobody"}


@dataclass(frozen=True, kw_only=True)
class Opened:
    """How long a page took, of several times.

    Attributes:
        seconds: by the clock, with whatever else the machine did.
        computing: this process alone, by the processor's clock.
        asking: the queries, by the clock.
        queries: how many.
    """

    name: str
    seconds: list[float]
    computing: list[float]
    asking: list[float]
    queries: int

    @property
    def line(self) -> str:
        """A row of a table in Markdown."""
        medians = map(statistics.median, (self.seconds, self.computing, self.asking))
        numbers = [*medians, max(self.seconds)]
        shown = " | ".join(f"{one * 1000:.0f} ms" for one in numbers)
        return f"| {self.name} | {shown} | {self.queries} |"


def main() -> int:
    """Fill, measure, print."""
    options = _options()
    _configure(options.database, NAME if options.keep else f"{NAME}_{os.getpid()}")
    usual = connection.settings_dict["NAME"]
    creation = connection.creation
    creation.create_test_db(verbosity=0, autoclobber=True, serialize=False, keepdb=options.keep)
    try:
        _fill(options.rows)
        _measure(options)
    finally:
        creation.destroy_test_db(usual, verbosity=0, keepdb=options.keep)
    return 0


def _configure(database: str, name: str) -> None:
    pymysql: Any = importlib.import_module("pymysql")  # it has no types
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()
    processors = [
        f"django.{name}"
        for name in (
            "template.context_processors.request",
            "contrib.auth.context_processors.auth",
            "contrib.messages.context_processors.messages",
        )
    ]
    settings.configure(
        SECRET_KEY="benchmarks-only-" + "k" * 50,
        DATABASES={"default": {**dj_database_url.parse(database), "TEST": {"NAME": name}}},
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "gemini_webhooks",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": processors},
            }
        ],
        ROOT_URLCONF="benchmarks.admin_urls",
        STATIC_URL="/static/",
        ALLOWED_HOSTS=["*"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        GEMINI_WEBHOOKS={},
    )
    django.setup()


def _fill(rows: int) -> None:
    from gemini_webhooks.models import WebhookDelivery, WebhookEndpoint

    if not rows or WebhookDelivery.objects.exists():
        return
    started = time.monotonic()
    busy, retired = (
        WebhookEndpoint.objects.create(slug=slug, name=slug).pk for slug in ("busy", "retired")
    )
    for first in range(0, rows, CHUNK):
        last = min(first + CHUNK, rows) - 1
        for table, columns in _tables(rows, busy=busy, retired=retired).items():
            numbers = NUMBERS[connection.vendor].format(first, last)
            names = ", ".join(map(connection.ops.quote_name, columns))
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO gemini_webhooks_{table} ({names})"  # noqa: S608  # all our own
                    f" SELECT {', '.join(columns.values())} FROM {numbers}"
                )
    word = "VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE TABLE"
    with connection.cursor() as cursor:
        for table in ("webhookdelivery", "receiverrun", "attempt", "resultfile", "job"):
            cursor.execute(f"{word} gemini_webhooks_{table}")
    say(f"filled with {rows} deliveries in {time.monotonic() - started:.0f} s")


def _tables(rows: int, *, busy: int, retired: int) -> Mapping[str, Mapping[str, str]]:
    """A delivery, a run, an attempt, a result file and a job for each number, in SQL."""
    ago = AGO[connection.vendor]
    is_postgres = connection.vendor == "postgresql"
    when = ago.format(f"n * {DAYS * 86_400 / rows}")
    body = 'concat(\'{"type": "batch.succeeded", "note": "\', repeat(md5(n), 18), \'"}\')'
    metadata = METADATA.format()
    if is_postgres:
        body = f"convert_to({body.replace('md5(n)', 'md5(n::text)')}, 'UTF8')"
        metadata = f"{metadata}::jsonb"
    dead = "CASE WHEN n % 70 = 0 THEN 'dead' WHEN n < 150 THEN 'retrying' ELSE 'succeeded' END"
    empty, no = "''", "false"
    delivery = {
        "id": "n + 1",
        "webhook_id": "concat('msg_', n)",
        "signing": SIGNING.format(rows=rows),
        "binding": empty,
        "sealed": no,
        "key_hint": empty,
        "event_type": TYPE,
        "resource_id": "concat('batches/job', n)",
        "user_metadata": metadata,
        "received_at": when,
        "state": STATE,
        "body": body,
        "size": "620",
        "duplicate_count": "CASE WHEN n % 300 = 5 THEN 1 ELSE 0 END",
        "source": "'webhook'",
        "endpoint_id": ENDPOINT.format(rows=rows, busy=busy, retired=retired),
        "settled_at": when,
    }
    run = {
        "id": "n + 1",
        "delivery_id": "n + 1",
        "receiver": "CASE n % 3 WHEN 0 THEN 'shop.store_rows' ELSE 'shop.send_mail' END",
        "queue": empty,
        "state": dead,
        "attempts": "1",
        "last_error": empty,
        "trigger": "'delivery'",
        "actor": empty,
        "is_replay": no,
        "claim": empty,
        "created_at": when,
        "finished_at": when,
    }
    attempt = {
        "id": "n + 1",
        "run_id": "n + 1",
        "number": "1",
        "trigger": "'delivery'",
        "actor": empty,
        "started": when,
        "finished": when,
        "outcome": "CASE WHEN n % 70 = 0 THEN 'failed' ELSE 'succeeded' END",
        "error_class": empty,
        "traceback": "CASE WHEN n % 70 = 0 THEN repeat('line of it', 50) ELSE '' END",
    }
    result = {
        "id": "n + 1",
        "delivery_id": "n + 1",
        "position": "0",
        "source_uri": "concat('gs://bucket/', n, '.jsonl')",
        "state": "CASE WHEN n % 90000 = 0 THEN 'failed' ELSE 'complete' END",
        "file": empty,
        "content_type": empty,
        "bytes_done": "100",
        "size": "100",
        "crc32c": empty,
        "generation": empty,
        "rows": "1",
        "failed_rows": "0",
        "error": empty,
        "attempts": "1",
        "claim": empty,
        "created_at": when,
    }
    job = {
        "id": "n + 1",
        "resource_id": "concat('job', n)",
        "kind": "'batch'",
        "user_metadata": "'{}'",
        "api_key_name": "'default'",
        "submitted_at": when,
        "due_at": when,
        "state": "'succeeded'",
        "delivery_id": "n + 1",
    }
    return {
        "webhookdelivery": delivery,
        "receiverrun": run,
        "attempt": attempt,
        "resultfile": result,
        "job": job,
    }


def _pages(rows: int) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name, path below the app, and query."""
    from gemini_webhooks.models import WebhookEndpoint

    some = rows * 2 // 3
    deliveries: list[tuple[str, dict[str, str]]] = [
        ("all", {}),
        ("page 100", {"p": "100"}),
        ("after the newest 10,000", {"received_at__lte": _received(min(rows, 20_000))}),
        *((f"state {state}", {"state__exact": state}) for state in _STATES),
        *((f"failures {kind}", {"failures": kind}) for kind in ("dead", "retrying", "result")),
        *((f"received {name}", {"received": name}) for name in ("hour", "day", "week", "month")),
        *((f"type {name}", {"type": name}) for name in _TYPES),
        ("endpoint root", {"at": "root"}),
        *((f"endpoint {one.slug}", {"at": str(one.pk)}) for one in WebhookEndpoint.objects.all()),
        *((f"signing {name}", {"signing__exact": name}) for name in ("hmac", "jwt", "none")),
        *((f"duplicates {name}", {"duplicates": name}) for name in ("yes", "no")),
        ("one resource", {"resource": f"job{some}"}),
        ("search: webhook id", {"q": f"msg_{some}"}),
        ("search: start of all webhook ids", {"q": "msg_"}),
        ("search: resource id", {"q": f"job{some}"}),
        ("search: batches/ and resource id", {"q": f"batches/job{some}"}),
        *((f"search: metadata, {name}", {"q": value}) for name, value in ABOUT.items()),
        ("search: metadata at a path", {"q": "tenant=t77"}),
        ("search: number at a path", {"q": f"customer.id={some}"}),
        ("search: common value at a path", {"q": "group=nightly"}),
        ("failed and of a tenant", {"q": "tenant=t77", "state__exact": "failed"}),
        ("failed and by token", {"state__exact": "failed", "signing__exact": "jwt"}),
        ("failed in 24 hours", {"state__exact": "failed", "received": "day"}),
    ]
    for name, query in deliveries:
        yield f"deliveries: {name}", "webhookdelivery/", query
    yield "delivery page", f"webhookdelivery/{some}/change/", {}
    for name in ("receiverrun", "attempt", "resultfile", "job", "rejectedrequest"):
        yield f"{name}: all", f"{name}/", {}
        yield f"{name}: page 100", f"{name}/", {"p": "100"}
        yield f"{name}: search", f"{name}/", {"q": f"msg_{some}"}
    yield "receiverrun: dead", "receiverrun/", {"state__exact": "dead"}
    yield "receiverrun: name", "receiverrun/", {"q": "send_mail"}
    yield "attempt: failed", "attempt/", {"outcome__exact": "failed"}
    yield "resultfile: failed", "resultfile/", {"state__exact": "failed"}


_STATES = ("received", "processing", "processed", "failed", "ignored", "unreadable")
_TYPES = ("batch.succeeded", "batch.failed", "video.generated", "other", "none")


def _received(position: int) -> str:
    from gemini_webhooks.models import WebhookDelivery

    found = WebhookDelivery.objects.order_by("pk")[position - 1 : position]
    return str(found[0].received_at)


def _measure(options: argparse.Namespace) -> None:
    from django.contrib.auth import get_user_model

    client = Client()
    users = get_user_model()._default_manager
    client.force_login(users.filter(username="root").first() or _superuser())
    with connection.cursor() as cursor:
        cursor.execute("SELECT version()")
        server = cursor.fetchone()[0].split(",")[0]
    say(
        f"{connection.display_name} {server}; {platform.machine()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}; Python {platform.python_version()},"
        f" Django {django.get_version()}"
    )
    say("| page | median | of it Python | of it queries | slowest | queries |")
    say("| --- | --- | --- | --- | --- | --- |")
    explained: list[str] = []
    medians: dict[str, float] = {}
    for name, path, query in _pages(options.rows or 1_000_000):
        url = f"/admin/gemini_webhooks/{path}?{urlencode(query)}"
        if options.only and options.only not in name:
            continue
        opened, plans = _open(client, name, url, options)
        say(opened.line)
        medians[name] = round(statistics.median(opened.seconds) * 1000, 1)
        explained += plans
    for plan in explained:
        say(plan)
    if options.json:
        say(json.dumps(medians))


def _superuser() -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model()._default_manager.create(
        username="root", is_staff=True, is_superuser=True
    )


def _open(
    client: Client, name: str, url: str, options: argparse.Namespace
) -> tuple[Opened, list[str]]:
    took: list[tuple[float, str, Any]] = []

    def timed(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, params, *rest)
        finally:
            took.append((time.perf_counter() - started, sql, params))

    seconds, computing, asking = [], [], []
    for _ in range(options.times):
        took.clear()
        started, computed = time.perf_counter(), time.process_time()
        with connection.execute_wrapper(timed):
            answer = client.get(url)
        seconds.append(time.perf_counter() - started)
        computing.append(time.process_time() - computed)
        asking.append(sum(one[0] for one in took))
        if answer.status_code != 200 and "p=" not in url:
            raise RuntimeError(f"{url} answered {answer.status_code}")
    opened = Opened(
        name=name, seconds=seconds, computing=computing, asking=asking, queries=len(took)
    )
    if not options.explain:
        return opened, []
    slow = [one for one in took if one[0] * 1000 > options.explain]
    return opened, [f"\n{name}\n{sql}\n{params}\n{_plan(sql, params)}" for _, sql, params in slow]


def _plan(sql: str, params: Any) -> str:
    words = "EXPLAIN (ANALYZE, BUFFERS)" if connection.vendor == "postgresql" else "ANALYZE"
    with connection.cursor() as cursor:
        cursor.execute(f"{words} {sql}", params)
        return "\n".join(" ".join(map(str, row)) for row in cursor.fetchall())


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--database", required=True, help="URL of a server")
    parser.add_argument("--rows", type=int, default=1_000_000, help="deliveries (%(default)s)")
    parser.add_argument("--times", type=int, default=5, help="each page so often (%(default)s)")
    parser.add_argument("--only", help="pages whose name holds this")
    parser.add_argument("--explain", type=float, help="plans of queries above so many ms")
    parser.add_argument(
        "--keep", action="store_true", help="use the database of the last time, and keep it"
    )
    parser.add_argument("--json", action="store_true", help="print medians in ms as JSON, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
