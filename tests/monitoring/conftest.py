"""A site that has included the URLs, the lines that it logs, and the examples of the page."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from gemini_webhooks.dispatch import messages
from gemini_webhooks.logs import DeliveryContext
from gemini_webhooks.trends import waiting as figures
from tests.monitoring.spans import Spans, read


@pytest.fixture(autouse=True)
def _site(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.monitoring.urls"
    figures.reset()


class Lines(logging.Handler):
    """What was logged, by this app and by the site, with the filter on the handler."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(DeliveryContext())
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def about(self, text: str) -> tuple[str, str, str, str]:
        """The attributes of the one line with ``text``."""
        [record] = [record for record in self.records if text in record.getMessage()]
        return attributes(record)


def attributes(record: Any) -> tuple[str, str, str, str]:
    return record.webhook_id, record.delivery_id, record.receiver, record.attempt


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def other_broker() -> Iterator[Callable[[str], None]]:
    """Give the site another broker."""
    before = messages.site_app()
    apps: list[Celery] = []
    yield lambda url: apps.append(Celery("other", broker=url))
    for app in apps:
        app.close()
    before.set_current()


@pytest.fixture(scope="session")
def provider() -> Any:
    """Of the real SDK; a process can have one only."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="needs --group telemetry")
    trace = pytest.importorskip("opentelemetry.trace")
    made = sdk.TracerProvider()
    trace.set_tracer_provider(made)
    return made


@pytest.fixture
def spans(provider: Any) -> Iterator[Spans]:
    """What this process makes spans of during the test."""
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    yield lambda: [read(json.loads(span.to_json())) for span in exporter.get_finished_spans()]
    exporter.shutdown()
