"""How long the dashboard takes with a million deliveries, and the roll-up of its figures.

    python -m benchmarks.dashboard --database postgres://postgres@127.0.0.1:5432/postgres

It makes a database of its own on that server, fills it with a month of deliveries, rolls them up,
opens the page for each period several times, and drops it.
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
from typing import Any

import dj_database_url
import django
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

NAME = "gemini_webhooks_benchmark_dashboard"
CHUNK, SECONDS, ENDPOINTS, TIMES = 50_000, 30 * 86_400, 5, 7
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
#: Durations are intervals, or microseconds.
LENGTH = {"postgresql": "({0}) * interval '1 millisecond'"}
METADATA = {"postgresql": "'{}'::jsonb"}
BODY = {"postgresql": "convert_to(repeat('x', 300), 'UTF8')", "mysql": "repeat('x', 300)"}
STATE = (
    "CASE WHEN n < 20 THEN 'received' WHEN n < 200 THEN 'processing' WHEN n % 70 = 0 THEN 'failed'"
    " WHEN n % 90 = 0 THEN 'ignored' ELSE 'processed' END"
)
#: From a tenth of a second to about an hour, most of them short.
MILLISECONDS = "100 + (n * 1009 % 1000) * (n * 17 % 60) * (n * 31 % 60)"


def main() -> int:
    """Fill, measure, print."""
    options = _options()
    _configure(options.database)
    usual = connection.settings_dict["NAME"]
    creation = connection.creation
    creation.create_test_db(verbosity=0, autoclobber=True, serialize=False, keepdb=options.keep)
    try:
        started = time.monotonic()
        _fill(options.rows)
        _say(f"filled with {options.rows} deliveries in {time.monotonic() - started:.0f} s")
        measured = _measure()
    finally:
        creation.destroy_test_db(usual, verbosity=0, keepdb=options.keep)
    if options.json:
        _say(json.dumps(measured))
    return 0


def _configure(database: str) -> None:
    pymysql: Any = importlib.import_module("pymysql")  # it has no types
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()
    default = dj_database_url.parse(database)
    is_file = "sqlite" in default["ENGINE"]
    default["TEST"] = {"NAME": default["NAME"] if is_file else NAME}
    apps = ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
    middleware = ("sessions.middleware.Session", "auth.middleware.Authentication")
    settings.configure(
        SECRET_KEY="benchmarks-only-" + "k" * 50,
        DATABASES={"default": default},
        INSTALLED_APPS=[*(f"django.contrib.{app}" for app in apps), "gemini_webhooks"],
        MIDDLEWARE=[
            *(f"django.contrib.{name}Middleware" for name in middleware),
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
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
    for number in range(ENDPOINTS):
        WebhookEndpoint.objects.create(pk=number + 1, slug=f"endpoint-{number}")
    vendor, empty, no = connection.vendor, "''", "0"
    if vendor == "postgresql":
        no = "false"
    when = AGO[vendor].format(f"n * {SECONDS / rows}")
    delivery = {
        "id": "n + 1",
        "webhook_id": "'msg_' || n" if vendor != "mysql" else "concat('msg_', n)",
        "signing": "'hmac'",
        "binding": empty,
        "sealed": no,
        "key_hint": empty,
        "event_type": "'batch.succeeded'",
        "resource_id": empty,
        "user_metadata": METADATA.get(vendor, "'{}'"),
        "received_at": when,
        "state": STATE,
        "body": BODY.get(vendor, "'{}'"),
        "size": "300",
        "duplicate_count": "0",
        "source": "'webhook'",
        "endpoint_id": f"n % {ENDPOINTS} + 1",
        "settled_at": when,
        "took": LENGTH.get(vendor, "({0}) * 1000").format(MILLISECONDS),
    }
    run = {
        "id": "n + 1",
        "delivery_id": "n + 1",
        "receiver": "'shop.store_rows'",
        "queue": empty,
        "state": "CASE WHEN n % 70 = 0 THEN 'dead' ELSE 'succeeded' END",
        "attempts": "1",
        "last_error": empty,
        connection.ops.quote_name("trigger"): "'delivery'",
        "actor": empty,
        "is_replay": no,
        "claim": empty,
        "created_at": when,
        "finished_at": when,
    }
    words = {"postgresql": "VACUUM ANALYZE", "mysql": "ANALYZE TABLE", "sqlite": "ANALYZE"}
    for table, columns in (("webhookdelivery", delivery), ("receiverrun", run)):
        for first in range(0, rows, CHUNK):
            numbers = NUMBERS[vendor].format(first, min(first + CHUNK, rows) - 1)
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO gemini_webhooks_{table} ({', '.join(columns)})"  # noqa: S608  # all our own
                    f" SELECT {', '.join(columns.values())} FROM {numbers}"
                )
        with connection.cursor() as cursor:
            cursor.execute(f"{words[vendor]} gemini_webhooks_{table}")


def _measure() -> dict[str, Any]:
    from django.contrib.auth import get_user_model

    from gemini_webhooks import trends
    from gemini_webhooks.models import Figure

    with connection.cursor() as cursor:
        sqlite = connection.vendor == "sqlite"
        cursor.execute("SELECT sqlite_version()" if sqlite else "SELECT version()")
        version = cursor.fetchone()[0].removeprefix("PostgreSQL ").split(" ")[0]
        server = f"{connection.display_name} {version}"
    _say(
        f"{server}; {platform.machine()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[1]:.1f} at first; Python {platform.python_version()},"
        f" Django {django.get_version()}"
    )
    measured: dict[str, Any] = {"periods": {}}
    started = time.monotonic()
    rolled = trends.roll_up()
    measured["first_s"] = round(time.monotonic() - started, 1)
    measured["steps"], measured["figures"] = rolled.steps, Figure.objects.count()
    _say(
        f"first roll-up: {measured['first_s']} s, {rolled.steps} steps,"
        f" {measured['figures']} figures"
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE gemini_webhooks_figure")
    usual = [_timed(trends.roll_up) for _ in range(TIMES)]
    measured["usual_ms"] = round(statistics.median(usual))
    _say(f"a usual one: median {measured['usual_ms']} ms, at most {max(usual):.0f} ms")
    client = Client()
    client.force_login(get_user_model().objects.create_superuser(f"root-{time.time()}"))
    _say("| period | median | max | queries | the slowest |")
    _say("| --- | --- | --- | --- | --- |")
    for period in trends.PERIODS:
        measured["periods"][period] = _open(client, period)
    return measured


def _open(client: Client, period: str) -> dict[str, float]:
    path = f"/admin/gemini_webhooks/figure/?period={period}"
    waiting: Any = importlib.import_module("gemini_webhooks.trends.waiting")

    def look() -> None:
        waiting.reset()
        answer = client.get(path)
        if answer.status_code != 200:
            raise RuntimeError(f"answered {answer.status_code}")

    times = [_timed(look) for _ in range(TIMES)]
    with CaptureQueriesContext(connection) as queries:
        look()
    slowest = max(queries, key=lambda query: float(query["time"]))
    found: dict[str, float] = {
        "median_ms": round(statistics.median(times)),
        "max_ms": round(max(times)),
        "queries": len(queries),
        "slowest_ms": round(float(slowest["time"]) * 1000),
    }
    _say(
        f"| {period} | {found['median_ms']} ms | {found['max_ms']} ms | {found['queries']}"
        f" | {found['slowest_ms']} ms |"
    )
    return found


def _timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--database", required=True, help="URL of a server, or of a file")
    parser.add_argument("--rows", type=int, default=1_000_000, help="deliveries (%(default)s)")
    parser.add_argument(
        "--keep", action="store_true", help="use the database of the last time, and keep it"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
