"""What load balancers and monitors are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client
from django.utils import timezone

from gemini_webhooks import RetryLater, processing, receivers, tasks
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery
from gemini_webhooks.trends import waiting as figures
from tests import servers
from tests.conftest import every_database
from tests.monitoring.conftest import Lines
from tests.monitoring.pages import example
from tests.senders import StaticSender
from tests.test_docs import BLOCKS, PROJECT

sqlite = pytest.mark.django_db(transaction=True)
VIEWS = ["/health/", "/health", "/backlog/", "/backlog"]
EMPTY: dict[str, Any] = {
    "status": "ok",
    "oldest_seconds": 0.0,
    "deliveries": {"received": 0, "processing": 0},
    "runs": {"due": 0, "running": 0, "scheduled": 0, "parked": 0, "held": 0, "dead": 0},
    "results": {"due": 0, "fetching": 0, "scheduled": 0},
}


def refuse(*_: Any) -> None:
    raise OperationalError("connection to 10.0.0.7 failed for user secret")


def backlog(client: Client, query: str = "") -> Any:
    figures.reset()
    return client.get(f"/backlog/{query}").json()


@every_database
def test_views_answer_without_login(client: Client, database: str) -> None:
    assert client.get("/health/").json() == {"status": "ok"}
    assert client.get("/backlog/").json() == EMPTY
    for address in VIEWS:
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer["Content-Type"] == "application/json"
        assert "no-store" in answer["Cache-Control"]
        head = client.head(address)
        assert (head.status_code, head.content) == (200, b"")
        for method in (client.post, client.put, client.delete):
            assert method(address).status_code == 405


@every_database
@pytest.mark.parametrize("address", VIEWS)
def test_database_that_does_not_answer(
    client: Client, lines: Lines, database: str, address: str
) -> None:
    with connections[database].execute_wrapper(refuse):
        answer = client.get(address)
        assert client.head(address).status_code == 503

    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
    said = {record.getMessage() for record in lines.records if "monitoring" in record.name}
    what = address.strip("/")
    assert said == {f"{what}: the database does not answer: OperationalError"}
    assert client.get(address).status_code == 200


@pytest.mark.server("postgres")
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.django_db(
    transaction=True, databases=[] if servers.missing("postgres") else ["postgres"]
)
def test_connection_that_died_since_the_last_request_is_no_outage(
    client: Client, database: str
) -> None:
    killed = connections[database]
    with killed.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    other = killed.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    other.close()

    assert client.get("/health/").status_code == 200


def test_health_of_a_site_with_atomic_requests_and_no_database() -> None:
    """A process of its own, with a real port where nobody listens."""
    program = """
import django, json
django.setup()
from django.test import Client
answers = [Client().get(address) for address in ("/health/", "/backlog/", "/metrics")]
print(json.dumps([[answer.status_code, answer.content.decode()] for answer in answers]))
"""
    nowhere = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "x",
        "HOST": "127.0.0.1",
        "PORT": 9,
        "ATOMIC_REQUESTS": True,
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.monitoring.process_settings",
            "WORKER_DATABASE": json.dumps(nowhere),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    health, behind, metrics = json.loads(done.stdout)

    assert health == behind == [503, '{"status": "unavailable"}']
    assert metrics[0] in (200, 501)


@every_database
def test_backlog_counts_what_waits(
    static: StaticSender, client: Client, configured: dict[str, Any], database: str
) -> None:
    def later(**_: Any) -> None:
        raise RetryLater(3600)

    def fail(**_: Any) -> None:
        raise ValueError

    configured.update(FETCH_RESULTS=True, MAX_ATTEMPTS=1)
    receivers.on("batch.succeeded", name="later")(later)
    receivers.on("batch.succeeded", name="fail")(fail)
    receivers.on("batch.failed", name="one by one", limit=1)(lambda **_: None)
    static.post(static.envelope(output_file_uri="gs://not-allowed/o"), webhook_id="planned")
    static.post(static.envelope("batch.failed"), webhook_id="lane-1")
    static.post(static.envelope("batch.failed"), webhook_id="lane-2")

    assert backlog(client)["deliveries"] == {"received": 3, "processing": 0}

    for delivery in WebhookDelivery.objects.all():
        processing.plan(delivery.pk)
    planned = backlog(client)
    assert planned["deliveries"] == {"received": 0, "processing": 3}
    assert planned["runs"] == {**EMPTY["runs"], "due": 3, "parked": 1}
    assert planned["results"] == {"due": 1, "fetching": 0, "scheduled": 0}

    for run in ReceiverRun.objects.filter(delivery__webhook_id="planned"):
        processing.run(run.pk)
    ResultFile.objects.update(state="fetching")
    ReceiverRun.objects.filter(parked_at=None, lane__gt="").update(state="running")
    worked = backlog(client)
    assert worked["deliveries"] == {"received": 0, "processing": 2}
    counts = {"running": 1, "scheduled": 1, "parked": 1, "dead": 1}
    assert worked["runs"] == {**EMPTY["runs"], **counts}
    assert worked["results"] == {"due": 0, "fetching": 1, "scheduled": 0}
    assert worked["oldest_seconds"] == 0.0


@every_database
def test_oldest_seconds_of_what_nobody_takes_up(
    static: StaticSender, client: Client, database: str
) -> None:
    for webhook_id, age in (("young", 5), ("old", 700), ("done", 9000)):
        static.post(webhook_id=webhook_id)
        received = timezone.now() - timedelta(seconds=age)
        WebhookDelivery.objects.filter(webhook_id=webhook_id).update(received_at=received)
    WebhookDelivery.objects.filter(webhook_id="done").update(state="processed")

    assert 700 <= backlog(client)["oldest_seconds"] < 760
    assert backlog(client, "?max_seconds=800")["status"] == "ok"
    figures.reset()
    behind = client.get("/backlog/?max_seconds=600")
    assert (behind.status_code, behind.json()["status"]) == (503, "behind")
    assert behind.json()["deliveries"] == {"received": 2, "processing": 0}
    assert client.head("/backlog/?max_seconds=600").status_code == 503


@every_database
@pytest.mark.parametrize("model", [ReceiverRun, ResultFile])
@pytest.mark.parametrize("state", ["pending", "retrying"])
def test_oldest_seconds_of_what_is_due(
    static: StaticSender,
    client: Client,
    configured: dict[str, Any],
    database: str,
    model: Any,
    state: str,
) -> None:
    configured["FETCH_RESULTS"] = True
    receivers.on("batch.succeeded", name="r")(lambda **_: None)
    static.post(static.envelope(output_file_uri="gs://not-allowed/o"))
    processing.plan(WebhookDelivery.objects.get().pk)
    since = timezone.now() - timedelta(seconds=100)
    later = timezone.now() + timedelta(hours=1)
    for other in (ReceiverRun, ResultFile):
        other.objects.update(next_attempt_at=later)

    assert backlog(client)["oldest_seconds"] == 0.0

    model.objects.update(state=state, next_attempt_at=since)
    assert 100 <= backlog(client)["oldest_seconds"] < 160


@every_database
def test_what_the_sweep_hands_on_again_does_not_look_fresh(
    static: StaticSender, client: Client, database: str
) -> None:
    receivers.on("batch.succeeded", name="r")(lambda **_: None)
    static.post()
    processing.plan(WebhookDelivery.objects.get().pk)

    def age(seconds: float) -> None:
        run = ReceiverRun.objects.get()
        since = run.next_attempt_at - timedelta(seconds=seconds)
        ReceiverRun.objects.update(next_attempt_at=since)

    for grace in (60, 120, 240, 480):
        age(grace)
        tasks.sweep()

    assert 900 <= backlog(client)["oldest_seconds"] < 960


@sqlite
@pytest.mark.parametrize("wrong", ["", "soon", "-1", "nan", "inf", "1e999", "1;DROP"])
def test_limit_that_is_no_number_is_named(client: Client, wrong: str) -> None:
    answer = client.get("/backlog/", {"max_seconds": wrong})

    assert answer.status_code == 400
    assert answer.json() == {"error": "max_seconds is not a number of seconds"}


@sqlite
def test_asking_often_does_not_ask_the_database_often(
    static: StaticSender,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    assert backlog(client) == EMPTY
    static.post()

    with django_assert_num_queries(0):
        assert client.get("/backlog/").json() == EMPTY
    monkeypatch.setattr(figures, "KEEP_SECONDS", 0)
    figures.reset()
    client.get("/backlog/")
    static.post()
    assert client.get("/backlog/").json()["deliveries"]["received"] == 2


@every_database
def test_counts_end_at_a_ceiling_and_read_an_index_only(
    static: StaticSender, client: Client, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "CEILING", 2)
    for _ in range(4):
        static.post()

    queries: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        queries.append(sql)
        return execute(sql, *rest)

    with connections[database].execute_wrapper(note):
        assert backlog(client)["deliveries"]["received"] == 2

    assert [query for query in queries if "LIMIT" not in query] == []


@sqlite
def test_urls_of_the_page(client: Client, settings: Any) -> None:
    for words, address in (
        ("gemini_webhooks.monitoring.urls", "/gemini/health/"),
        ("gemini_webhooks.monitoring.urls", "/gemini/backlog/"),
        ("healthz", "/healthz"),
    ):
        settings.ROOT_URLCONF = tuple(urlconf(words))
        assert client.get(address).status_code == 200


def urlconf(words: str) -> list[Any]:
    namespace: dict[str, Any] = {}
    exec(example(words), namespace)
    found: list[Any] = namespace["urlpatterns"]
    return found


@sqlite
def test_the_page_shows_what_the_view_answers(client: Client) -> None:
    [shown] = [block for block in BLOCKS if block.page == "monitoring" and block.language == "json"]

    def shape(value: Any) -> Any:
        return {key: shape(of) for key, of in value.items()} if isinstance(value, dict) else None

    assert shape(json.loads(shown.text)) == shape(client.get("/backlog/").json())


@sqlite
def test_nothing_is_reachable_unless_included(client: Client, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.urls"
    for address in [*VIEWS, "/metrics", "/webhooks/gemini/health/"]:
        assert client.get(address).status_code in (404, 405)
