"""What Prometheus can read: counted where it happens, and read from the database."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import OperationalError, connections
from django.test import Client
from django.urls import path
from django.utils import timezone

from gemini_webhooks import GiveUp, RetryLater, processing, receivers, replay
from gemini_webhooks.models import WebhookDelivery
from gemini_webhooks.observe.observers import Observer, _complaints, _observers
from gemini_webhooks.trends import waiting as figures
from tests.conftest import every_database
from tests.monitoring.conftest import Lines
from tests.monitoring.pages import example
from tests.senders import DynamicSender, StaticSender, new_secret
from tests.test_docs import CODE, bare, section

prometheus = pytest.importorskip("prometheus_client", reason="needs the extra [prometheus]")
parser = pytest.importorskip("prometheus_client.parser")
exposition = pytest.importorskip("gemini_webhooks.monitoring.exposition")
metrics = pytest.importorskip("gemini_webhooks.observe.metrics")

pytestmark = pytest.mark.django_db(transaction=True)
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape() -> Figures:
    """All figures of the app, as Prometheus would read them from the view."""
    figures.reset()
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
        if sample.name.startswith("gemini_webhooks_") and not sample.name.endswith("_created")
    }


class Since:
    """What has been counted since the test began."""

    def __init__(self) -> None:
        self.before = scrape()

    def __call__(self, name: str, **labels: str) -> float:
        key = (f"gemini_webhooks_{name}", tuple(sorted(labels.items())))
        return scrape().get(key, 0) - self.before.get(key, 0)


@pytest.fixture
def since() -> Since:
    return Since()


def test_received_events_are_counted(
    static: StaticSender, dynamic: DynamicSender, since: Since
) -> None:
    static.post(webhook_id="m")
    static.post(webhook_id="m")
    static.post(static.envelope("cache.evicted"))
    static.post(static.envelope("cache.evicted.again"))
    static.post(b"no JSON")
    dynamic.post(dynamic.envelope("batch.completed"))

    received = "deliveries_received_total"
    assert since(received, type="batch.succeeded", signing="hmac", outcome="accepted") == 1
    assert since(received, type="batch.succeeded", signing="hmac", outcome="duplicate") == 1
    assert since(received, type="batch.succeeded", signing="jwt", outcome="accepted") == 1
    assert since(received, type="other", signing="hmac", outcome="accepted") == 2
    assert since(received, type="unreadable", signing="hmac", outcome="accepted") == 1
    assert not [labels for name, labels in scrape() if "evicted" in str(labels)]


def test_refused_requests_are_counted_beyond_those_that_are_recorded(
    static: StaticSender, since: Since
) -> None:
    stranger = StaticSender()
    for _ in range(70):
        stranger.post()
    stranger.post(path="/webhooks/gemini/nowhere/")
    static.post(b"x" * 300_000)
    static.client.get("/webhooks/gemini/")

    assert since("requests_refused_total", code="signature_mismatch") == 70
    assert since("requests_refused_total", code="unknown_endpoint") == 1
    assert since("requests_refused_total", code="body_too_large") == 1
    for status, count in {"401": 70, "404": 1, "413": 1, "405": 1}.items():
        assert since("request_seconds_count", status=status) == count


@every_database
def test_requests_that_are_put_off_by_the_database(
    static: StaticSender, database: str, since: Since
) -> None:
    def refuse(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("INSERT"):
            raise OperationalError("row was (payload)")
        return execute(sql, *rest)

    with connections[database].execute_wrapper(refuse):
        assert static.post().status_code == 503

    assert since("requests_refused_total", code="database_unavailable") == 1
    assert since("request_seconds_count", status="503") == 1


def test_seconds_of_requests(static: StaticSender, since: Since) -> None:
    static.post()

    assert since("request_seconds_count", status="200") == 1
    assert 0 < since("request_seconds_sum", status="200") < 5
    assert since("request_seconds_bucket", status="200", le="10.0") == 1


@every_database
def test_attempts_of_receivers_are_counted(
    static: StaticSender, configured: dict[str, Any], database: str, since: Since
) -> None:
    configured["MAX_ATTEMPTS"] = 2

    def fail(**_: Any) -> None:
        raise ValueError("payload")

    def give_up(**_: Any) -> None:
        raise GiveUp("payload")

    def later(**_: Any) -> None:
        raise RetryLater(3600)

    async def fine(**_: Any) -> None:
        """Nothing to do."""

    for function in (fail, give_up, later, fine):
        receivers.on("batch.succeeded", name=function.__name__)(function)
    receivers.on("batch.succeeded", name="stale", latest_only=True)(fine)
    static.post(static.envelope(id="b"))
    static.post({**static.envelope(id="b"), "timestamp": "2026-01-22T13:00:00Z"})
    for _ in range(3):
        processing.drain()

    def runs(receiver: str) -> dict[str, float]:
        outcomes = ("succeeded", "failed", "postponed", "gave_up", "skipped", "lost")
        counted = {
            outcome: since("receiver_runs_total", receiver=receiver, outcome=outcome)
            for outcome in outcomes
        }
        return {outcome: count for outcome, count in counted.items() if count}

    assert runs("fail") == {"failed": 4}
    assert runs("give_up") == {"gave_up": 2}
    assert runs("later") == {"postponed": 2}
    assert runs("fine") == {"succeeded": 2}
    assert runs("stale") == {"succeeded": 1, "skipped": 1}
    dead = {name: since("receiver_runs_dead_total", receiver=name) for name in ("fail", "give_up")}
    assert dead == {"fail": 2, "give_up": 2}
    assert since("receiver_runs_dead_total", receiver="fine") == 0
    assert since("receiver_run_seconds_count", receiver="fail") == 4


def test_run_that_was_taken_over_is_counted_as_lost(static: StaticSender, since: Since) -> None:
    def taken_over(delivery: Any, **_: Any) -> None:
        delivery.runs.update(claim="somebody else")

    receivers.on("batch.succeeded", name="r")(receivers.non_atomic(taken_over))
    static.post()
    processing.drain()

    assert since("receiver_runs_total", receiver="r", outcome="lost") == 1


@every_database
def test_time_until_all_receivers_are_done(
    static: StaticSender, database: str, since: Since
) -> None:
    for name in ("a", "b"):
        receivers.on("batch.failed", name=name)(lambda **_: None)
    static.post(static.envelope("batch.failed"))
    delivery = WebhookDelivery.objects.get()
    WebhookDelivery.objects.update(received_at=timezone.now() - timedelta(seconds=100))
    processing.drain()

    assert since("processing_seconds_count", type="batch.failed") == 1
    assert 100 <= since("processing_seconds_sum", type="batch.failed") < 130

    replay.replay(delivery, actor="ada")
    processing.drain()
    assert since("processing_seconds_count", type="batch.failed") == 1


@pytest.mark.parametrize(
    ("broker", "reason"),
    [("amqp://guest:guest@127.0.0.1:9//", "timeout"), ("nosuch://127.0.0.1", "error")],
)
def test_broker_that_is_down(
    static: StaticSender,
    other_broker: Callable[[str], None],
    since: Since,
    broker: str,
    reason: str,
) -> None:
    other_broker(broker)
    for _ in range(3):
        assert static.post().status_code == 200

    assert since("handoff_failures_total", reason=reason) == 1
    assert since("handoff_failures_total", reason="cooling_down") == 2
    assert since("deliveries", state="received") == 3


@every_database
def test_gauges_are_those_of_the_backlog(
    static: StaticSender, client: Client, database: str
) -> None:
    receivers.on("batch.failed", name="one", limit=1)(lambda **_: None)
    for _ in range(3):
        static.post(static.envelope("batch.failed"))
    processing.plan(WebhookDelivery.objects.first().pk)
    WebhookDelivery.objects.update(received_at=timezone.now() - timedelta(seconds=50))

    scraped = scrape()
    shown = client.get("/backlog/").json()

    for what in ("deliveries", "runs", "results"):
        for state, count in shown[what].items():
            assert scraped[(f"gemini_webhooks_{what}", (("state", state),))] == count
    assert 50 <= scraped[("gemini_webhooks_oldest_waiting_seconds", ())] < 80
    assert scraped[("gemini_webhooks_database_up", ())] == 1


@every_database
def test_scrape_without_a_database_says_so(database: str) -> None:
    def refuse(*_: Any) -> None:
        raise OperationalError("connection to 10.0.0.7 failed for user secret")

    with connections[database].execute_wrapper(refuse):
        scraped = scrape()

    assert scraped[("gemini_webhooks_database_up", ())] == 0
    assert not [name for name, _ in scraped if name == "gemini_webhooks_runs"]
    assert [name for name, _ in scraped if name.startswith("gemini_webhooks_request")]


def test_format_is_the_one_that_is_asked_for(client: Client) -> None:
    plain = client.get("/metrics")
    open_metrics = client.get(
        "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )

    assert plain["Content-Type"].startswith("text/plain")
    assert open_metrics["Content-Type"].startswith("application/openmetrics-text")
    assert open_metrics.content.endswith(b"# EOF\n")
    assert client.head("/metrics").status_code == 200
    assert client.post("/metrics").status_code == 405
    assert b"python_info" in plain.content


def test_nothing_secret_is_shown(
    static: StaticSender, configured: dict[str, Any], client: Client
) -> None:
    def fail(**_: Any) -> None:
        raise ValueError("confidential")

    configured["SIGNING_SECRETS"].append(other := new_secret())
    receivers.on("batch.succeeded", name="r")(fail)
    static.post(static.envelope(note="confidential", user_metadata={"tenant": "confidential"}))
    processing.drain()

    shown = client.get("/metrics").content.decode()
    assert 'receiver="r"' in shown
    for secret in ("confidential", static.secret, other, "batch_123456"):
        assert secret not in shown


def test_observer_that_fails_stops_no_delivery(static: StaticSender, lines: Lines) -> None:
    class Broken(Observer):
        def begin(self, activity: Any) -> None:
            raise OSError("disk full, payload")

        def received(self, *_: Any) -> None:
            raise OSError("disk full, payload")

    class BrokenInTheEnd(Observer):
        def end(self, *_: Any) -> None:
            raise OSError("disk full, payload")

    broken = [Broken(), BrokenInTheEnd()]
    receivers.on("batch.succeeded", name="r")(lambda **_: None)
    _observers.extend(broken)
    try:
        assert static.post().status_code == 200
        assert static.post().status_code == 200
        processing.drain()
    finally:
        _observers[-2:] = []
        _complaints.clear()

    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"processed"}
    said = [record.getMessage() for record in lines.records if "observe" in record.name]
    assert sorted(said) == [
        f"tests.monitoring.test_metrics.{what} failed: OSError. It is logged this once only."
        for what in ("begin", "end", "received")
    ]


# --- the page


def real_metrics() -> dict[str, tuple[str, list[str]]]:
    found: dict[str, tuple[str, list[str]]] = {}
    for value in vars(metrics).values():
        if isinstance(value, prometheus.metrics.MetricWrapperBase):
            [family] = value.describe()
            suffix = "_total" if family.type == "counter" else ""
            found[family.name + suffix] = (family.type, list(value._labelnames))
    for family in exposition.BacklogCollector().describe():
        found[family.name] = (family.type, list(family._labelnames))
    return found


def test_metrics_are_listed_with_their_labels() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section("monitoring", "Prometheus").splitlines()
        if line.startswith("| `gemini_webhooks_")
    ]
    listed = {bare(row[0]): (row[1], CODE.findall(row[2])) for row in rows if len(row) == 4}

    assert listed == real_metrics()


def test_alerts_of_the_page_ask_for_what_there_is() -> None:
    text = section("monitoring", "Prometheus")
    asked = set(re.findall(r"gemini_webhooks_\w+", text.split("| alert if |")[1]))
    series = {name.removesuffix("_bucket") for name in asked if name != "gemini_webhooks_trace"}

    assert len(series) >= 6
    assert series <= set(real_metrics())


def test_metrics_with_a_token(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRICS_TOKEN", "t0ken")
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(example("METRICS_TOKEN"), namespace)
    settings.ROOT_URLCONF = (path("m", namespace["metrics_with_token"]),)

    assert client.get("/m").status_code == 401
    assert client.get("/m", headers={"authorization": "Bearer wrong"}).status_code == 401
    answer = client.get("/m", headers={"authorization": "Bearer t0ken"})
    assert b"gemini_webhooks_database_up 1.0" in answer.content


def test_gauges_in_a_registry_of_the_site(static: StaticSender) -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(example("REGISTRY.register"), namespace)
    [collector] = [
        found
        for found in prometheus.REGISTRY._collector_to_names
        if isinstance(found, namespace["BacklogCollector"])
    ]
    try:
        static.post()
        figures.reset()
        waiting = prometheus.REGISTRY.get_sample_value(
            "gemini_webhooks_deliveries", {"state": "received"}
        )
    finally:
        prometheus.REGISTRY.unregister(collector)

    assert waiting == 1


def test_urls_of_the_page(client: Client, settings: Any) -> None:
    namespace: dict[str, Any] = {"__name__": "docs"}
    exec(example("metrics_urls"), namespace)
    settings.ROOT_URLCONF = tuple(namespace["urlpatterns"])

    assert client.get("/internal/metrics").status_code == 200


def test_becoming_ready_again_starts_no_observer_twice() -> None:
    before = list(_observers)

    apps.get_app_config("gemini_webhooks").ready()

    assert _observers == before


def test_observers_are_those_that_are_installed() -> None:
    assert "gemini_webhooks.observe.metrics" in {type(one).__module__ for one in _observers}
