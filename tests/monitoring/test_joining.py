"""Who observes: whose library the site uses, from when it does, and nobody only installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_imports import START, said_by

OBSERVERS = """
from gemini_webhooks import observe
from gemini_webhooks.observe.observers import _observers
def names():
    return [type(one).__module__.rpartition(".")[2] for one in _observers]
def refused():
    observe.refused("made_up")
    value = prometheus_client.REGISTRY.get_sample_value
    return value("gemini_webhooks_requests_refused_total", {"code": "made_up"})
"""


@pytest.fixture
def _prometheus() -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra [prometheus]")


@pytest.fixture
def _telemetry() -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="needs --group telemetry")


def test_library_that_is_installed_and_not_used_observes_nothing() -> None:
    program = START + OBSERVERS + "observe.refused('x'); print(json.dumps(names()))"

    assert said_by(program) == []


@pytest.mark.usefixtures("_prometheus")
def test_figures_are_counted_once_the_site_imports_prometheus() -> None:
    program = """
observe.refused("made_up")
import prometheus_client
print(json.dumps([refused(), refused(), names()]))
"""
    assert said_by(START + OBSERVERS + program) == [1.0, 2.0, ["metrics"]]


@pytest.mark.usefixtures("_prometheus")
def test_threads_that_are_the_first_count_once_each() -> None:
    program = """
import threading
import prometheus_client
ready = threading.Barrier(8)
def count():
    ready.wait()
    observe.refused("made_up")
threads = [threading.Thread(target=count) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps([refused(), names()]))
"""
    assert said_by(START + OBSERVERS + program) == [9.0, ["metrics"]]


@pytest.mark.usefixtures("_prometheus")
def test_page_with_the_figures_counts_what_was_before_it_was_looked_at() -> None:
    program = """
import gemini_webhooks.monitoring.metrics_urls
import prometheus_client
print(json.dumps([names(), refused()]))
"""
    assert said_by(START + OBSERVERS + program) == [["metrics"], 1.0]


@pytest.mark.usefixtures("_prometheus")
def test_process_that_shares_its_figures_counts_from_the_start(tmp_path: Path) -> None:
    program = START + OBSERVERS + "print(json.dumps(names()))"

    assert said_by(program, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) == ["metrics"]


@pytest.mark.usefixtures("_telemetry")
def test_spans_are_made_once_the_site_has_set_the_sdk_up() -> None:
    program = """
observe.refused("x")
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
provider, memory = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
with observe.sending("dispatch", "celery", detached=False) as sent:
    pass
print(json.dumps([[span.name for span in memory.get_finished_spans()], list(sent.headers)]))
"""
    assert said_by(START + OBSERVERS + program) == [["send celery"], ["gemini_webhooks_trace"]]


@pytest.mark.usefixtures("_telemetry")
def test_sdk_that_the_environment_chooses_is_used() -> None:
    program = """
with observe.sending("dispatch", "celery", detached=False):
    print(json.dumps(observe.is_traced()))
"""
    chosen = {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"}

    assert said_by(START + OBSERVERS + program) is False
    assert said_by(START + OBSERVERS + program, **chosen) is True


@pytest.mark.usefixtures("_prometheus")
def test_process_that_is_forked_while_an_observer_joins_counts_too() -> None:
    program = """
import os, threading, time
import prometheus_client
from importlib import import_module
from gemini_webhooks.observe import observers
importing = threading.Event()
def slowly(name):
    importing.set()
    time.sleep(1)
    return import_module(name)
observers.import_module = slowly
threading.Thread(target=observe.refused, args=("made_up",)).start()
importing.wait()
child = os.fork()
if not child:
    os._exit(0 if refused() else 1)
print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
"""
    assert said_by(START + OBSERVERS + program) == 0
