"""One trace from the request over real brokers to the receivers, by the real SDK."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from gemini_webhooks import GiveUp, RetryLater, processing, receivers, tasks
from gemini_webhooks.dispatch import messages
from gemini_webhooks.models import ReceiverRun, WebhookDelivery
from tests.monitoring.conftest import Lines
from tests.monitoring.pages import PAGE
from tests.monitoring.site import MonitoredSite, json_lines
from tests.monitoring.spans import Seen, Spans, one, read
from tests.senders import StaticSender
from tests.test_celery import on_servers, wait_until

trace = pytest.importorskip("opentelemetry.trace", reason="needs the extra [opentelemetry]")

pytestmark = pytest.mark.django_db(transaction=True)


KINDS = {"server", "producer", "consumer", "internal"}


@pytest.fixture
def a_site(database: str, broker: str) -> Iterator[MonitoredSite]:
    before = messages.site_app()
    made = MonitoredSite(database, broker)
    yield made
    made.close()
    before.set_current()


def tree(seen: list[Seen], parent: str | None = None, depth: int = 0) -> list[str]:
    """Names and kinds, each below its parent; siblings by name."""
    lines: list[str] = []
    children = [span for span in seen if span.parent == parent]
    for span in sorted(children, key=lambda child: child.name):
        lines.append("  " * depth + f"{span.name} {span.kind} {span.status}")
        lines += tree(seen, span.id, depth + 1)
    return lines


@on_servers
def test_one_trace_from_the_request_to_the_receiver_and_its_retry(
    static: StaticSender, a_site: MonitoredSite, spans: Spans, tmp_path: Path
) -> None:
    file = tmp_path / "spans"
    with a_site.monitored_worker(MONITORING_SPANS=file, OTEL_BSP_SCHEDULE_DELAY="100"):
        static.post(static.envelope(note="confidential"), webhook_id="m")
        wait_until(lambda: len(json_lines(file)) >= 6)

    q = a_site.queue
    seen = spans() + [read(span) for span in json_lines(file)]
    assert tree(seen) == [
        "POST webhooks/gemini/ SERVER UNSET",
        f"  send {q} PRODUCER UNSET",
        f"    process {q} CONSUMER UNSET",
        "      plan delivery INTERNAL UNSET",
        "      run flaky INTERNAL ERROR",
        f"      send {q} PRODUCER UNSET",
        f"        process {q} CONSUMER UNSET",
        "          run flaky INTERNAL UNSET",
    ]
    assert len({span.trace for span in seen}) == 1
    delivery = WebhookDelivery.objects.get()
    about = {
        "gemini_webhooks.webhook_id": "m",
        "gemini_webhooks.delivery_id": str(delivery.pk),
    }
    [request] = [span for span in seen if span.kind == "SERVER"]
    assert request.attributes == {
        **about,
        "http.request.method": "POST",
        "http.route": "webhooks/gemini/",
        "http.response.status_code": 200,
        "gemini_webhooks.event_type": "batch.succeeded",
        "gemini_webhooks.signing": "hmac",
        "gemini_webhooks.outcome": "accepted",
    }
    attempts = {
        span.attributes["gemini_webhooks.attempt"]: span for span in seen if "run" in span.name
    }
    assert attempts["1"].attributes == {
        **about,
        "gemini_webhooks.receiver": "flaky",
        "gemini_webhooks.attempt": "1",
        "gemini_webhooks.outcome": "failed",
        "error.type": "ValueError",
    }
    [event] = attempts["1"].events
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "ValueError"
    assert "in flaky" in event["attributes"]["exception.stacktrace"]
    sent = {s.attributes["messaging.message.id"]: s for s in seen if s.kind == "PRODUCER"}
    taken = {s.attributes["messaging.message.id"]: s for s in seen if s.kind == "CONSUMER"}
    assert sent.keys() == taken.keys()
    assert len(sent) == 2
    for message, span in taken.items():
        assert span.parent == sent[message].id
        assert span.attributes == {
            "messaging.system": "celery",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": q,
            "messaging.message.id": message,
            "celery.task_name": span.attributes["celery.task_name"],
        }
    names = sorted(span.attributes["celery.task_name"] for span in taken.values())
    assert names == ["gemini_webhooks.tasks.dispatch", "gemini_webhooks.tasks.run_receiver"]
    for span in seen:
        for secret in ("confidential", "batch_123456", static.secret):
            assert secret not in span.text
        # In the source of the line that raised it, but never as the text of the error.
        assert "ValueError: the first time" not in span.text


@pytest.mark.server("redis")
@pytest.mark.parametrize(("database", "broker"), [("default", "redis")], indirect=["database"])
@pytest.mark.parametrize("where", ["worker", "both"])
def test_beside_an_instrumentation_of_celery(
    static: StaticSender, a_site: MonitoredSite, spans: Spans, tmp_path: Path, where: str
) -> None:
    instrumentation = pytest.importorskip(
        "opentelemetry.instrumentation.celery", reason="needs --group telemetry"
    )
    file = tmp_path / "spans"
    instrumentor = instrumentation.CeleryInstrumentor()
    if where == "both":
        instrumentor.instrument()
    try:
        with a_site.monitored_worker(
            MONITORING_SPANS=file, MONITORING_INSTRUMENTED="1", OTEL_BSP_SCHEDULE_DELAY="100"
        ):
            static.post(static.envelope("batch.failed"), webhook_id="m")
            wait_until(lambda: "run sound" in {span["name"] for span in json_lines(file)})
            wait_until(lambda: len(json_lines(file)) >= 4)
    finally:
        if where == "both":
            instrumentor.uninstrument()

    seen = spans() + [read(span) for span in json_lines(file)]
    theirs = [span for span in seen if span.name.startswith(("run/", "apply_async/"))]
    by_id = {span.id: span for span in seen}
    assert theirs
    if where == "both":
        assert len({span.trace for span in seen}) == 1
        lineage = []
        span: Seen | None = one(seen, "run sound")
        while span:
            lineage.append(span.name.replace(a_site.queue, "q").replace("gemini_webhooks.", ""))
            span = by_id.get(span.parent or "")
        assert lineage == [
            "run sound",
            "process q",
            "run/tasks.dispatch",
            "apply_async/tasks.dispatch",
            "send q",
            "POST webhooks/gemini/",
        ]
    else:
        # Their dispatch began a trace of its own; ours points to where it came from.
        [request] = [span for span in seen if span.kind == "SERVER"]
        dispatched = [
            span
            for span in seen
            if span.kind == "CONSUMER"
            and span.attributes.get("celery.task_name") == "gemini_webhooks.tasks.dispatch"
            and span.name.startswith("process")
        ]
        assert [span.links for span in dispatched] == [[request.trace]]


@on_servers
def test_what_a_sweep_hands_on_starts_traces_of_its_own(
    static: StaticSender, a_site: MonitoredSite, spans: Spans, tmp_path: Path
) -> None:
    file = tmp_path / "spans"
    for webhook_id in ("m", "n"):
        static.post(static.envelope("batch.failed"), webhook_id=webhook_id)
    with a_site.app.connection_for_write() as connection:
        assert connection.default_channel.queue_purge(a_site.queue) == 2
    requests = {span.trace for span in spans()}

    with a_site.monitored_worker(MONITORING_SPANS=file, OTEL_BSP_SCHEDULE_DELAY="100"):
        with trace.get_tracer("site").start_as_current_span("beat") as beat:
            tasks.sweep(everything=True)
        wait_until(lambda: len([s for s in json_lines(file) if s["name"] == "run sound"]) == 2)

    swept = f"0x{beat.get_span_context().trace_id:032x}"
    runs = [read(span) for span in json_lines(file) if span["name"] == "run sound"]
    sent = [span for span in spans() if span.kind == "PRODUCER" and span.parent is None]
    assert len({run.trace for run in runs} - requests - {swept}) == 2
    assert {run.attributes["gemini_webhooks.webhook_id"] for run in runs} == {"m", "n"}
    assert [span.links for span in sent] == [[swept], [swept]]


def test_request_is_part_of_the_trace_that_the_site_has_begun(
    static: StaticSender, spans: Spans
) -> None:
    stranger = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    with trace.get_tracer("site").start_as_current_span("django"):
        static.post(headers=stranger)
    static.post(headers=stranger)

    inside, alone = [span for span in spans() if span.name.startswith("POST")]
    assert (inside.kind, inside.parent) == ("INTERNAL", one(spans(), "django").id)
    assert (alone.kind, alone.parent) == ("SERVER", None)
    assert "a" * 32 not in alone.trace


def test_refused_and_put_off_requests(
    static: StaticSender, configured: dict[str, Any], spans: Spans
) -> None:
    StaticSender().post(webhook_id="forged")
    configured["SECRET_BACKEND"] = "no.such.function"
    StaticSender().post(webhook_id="put off")
    configured["SECRET_BACKEND"] = None
    StaticSender().post(webhook_id="put-off", headers={"webhook-id": "put off"})
    Client().generic("BREW", "/webhooks/gemini/")

    forged, *_, malformed, brewed = [span for span in spans() if span.kind == "SERVER"]
    assert forged.status == malformed.status == "UNSET"
    assert forged.attributes["http.response.status_code"] == 401
    assert forged.attributes["gemini_webhooks.code"] == "signature_mismatch"
    assert forged.attributes["gemini_webhooks.webhook_id"] == "forged"
    assert malformed.attributes["gemini_webhooks.code"] == "malformed_header"
    assert brewed.name == "_OTHER webhooks/gemini/"


def test_request_that_is_put_off_is_an_error(
    static: StaticSender, configured: dict[str, Any], spans: Spans
) -> None:
    configured["SECRET_BACKEND"] = "no.such.function"
    assert StaticSender().post(webhook_id="m").status_code == 503

    [request] = [span for span in spans() if span.kind == "SERVER"]
    assert request.status == "ERROR"
    assert request.attributes["error.type"] == "503"
    assert request.attributes["gemini_webhooks.code"] == "secret_unreadable"


def test_outcomes_of_receivers(static: StaticSender, spans: Spans) -> None:
    def give_up(event: Any, **_: Any) -> None:
        raise GiveUp(event.data["note"])

    def later(**_: Any) -> None:
        raise RetryLater(3600)

    async def fine(**_: Any) -> None:
        with trace.get_tracer("site").start_as_current_span("inside"):
            pass

    for function in (give_up, later, fine):
        receivers.on("batch.succeeded", name=function.__name__)(function)
    static.post(static.envelope(note="confidential"))
    processing.drain()

    runs = {span.name: span for span in spans() if span.name.startswith("run ")}
    told = {
        name: (span.attributes["gemini_webhooks.outcome"], span.status, len(span.events))
        for name, span in runs.items()
    }
    assert told == {
        "run give_up": ("gave_up", "ERROR", 1),
        "run later": ("postponed", "UNSET", 0),
        "run fine": ("succeeded", "UNSET", 0),
    }
    assert one(spans(), "inside").parent == runs["run fine"].id
    assert "confidential" not in "".join(span.text for span in spans())


def test_tasks_that_run_eagerly_are_in_the_trace_too(static: StaticSender, spans: Spans) -> None:
    receivers.on("batch.succeeded", name="r")(lambda **_: None)
    app = messages.site_app()
    app.conf.task_always_eager = True
    try:
        static.post()
    finally:
        app.conf.task_always_eager = False

    assert [line.strip().rsplit(" ", 2)[0] for line in tree(spans())][-1] == "run r"
    assert len({span.trace for span in spans()}) == 1


@pytest.mark.parametrize(
    "carried",
    ["x", 7, None, [], {}, {"traceparent": 7}, {"traceparent": "00-zz"}, {"a": "b" * 999}],
)
def test_header_that_somebody_else_wrote_stops_nothing(
    static: StaticSender, spans: Spans, lines: Lines, carried: Any
) -> None:
    receivers.on("batch.succeeded", name="r")(lambda **_: None)
    static.post()
    delivery = WebhookDelivery.objects.get()
    app = messages.site_app()
    app.conf.task_always_eager = True
    try:
        tasks.dispatch.apply_async((delivery.pk,), headers={"gemini_webhooks_trace": carried})
    finally:
        app.conf.task_always_eager = False

    assert ReceiverRun.objects.get().state == "succeeded"
    assert one(spans(), "run r").status == "UNSET"
    assert [record for record in lines.records if record.levelname == "ERROR"] == []


def test_spans_of_the_page_are_those_that_are_made() -> None:
    rows = re.findall(r"^\| `(\w+) [^|]* \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    listed = {verb for verb, kind in rows if kind in KINDS}

    assert listed == {"POST", "send", "process", "plan", "run", "fetch"}
