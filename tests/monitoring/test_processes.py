"""Several processes at once: a web server and a worker, both with children."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import pytest
from django.db import connection

from gemini_webhooks import tasks
from gemini_webhooks.dispatch import messages
from gemini_webhooks.models import WebhookDelivery
from tests.monitoring.pages import example
from tests.monitoring.site import MonitoredSite, json_lines
from tests.senders import StaticSender, envelope
from tests.test_celery import PROJECT, on_servers, wait_until
from tests.test_web_servers import free_port, post

pytestmark = [pytest.mark.django_db(transaction=True)]
EVENTS = 12


@pytest.fixture
def a_site(database: str, broker: str) -> Iterator[MonitoredSite]:
    before = messages.site_app()
    made = MonitoredSite(database, broker)
    yield made
    made.close()
    before.set_current()


@contextmanager
def web_server(site: MonitoredSite, secret: str, folder: Path, figures: Path) -> Iterator[int]:
    """Two processes, by the configuration of the page."""
    port = free_port()
    configuration = folder / "gunicorn.conf.py"
    configuration.write_text(example("gunicorn.conf.py"))
    command = f"gunicorn tests.wsgi --workers 2 --bind 127.0.0.1:{port} --no-control-socket"
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split(), "--config", str(configuration)],
        cwd=PROJECT,
        env={
            **site.environment,
            "SERVER_SECRET": secret,
            "PROMETHEUS_MULTIPROC_DIR": str(figures),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 40
        while not get(port, "/health/"):
            assert process.poll() is None, "the server did not start"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def get(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read().decode()
    except URLError:
        return ""


def figures_of(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("gemini_"))
    return {name: float(value) for name, _, value in lines}


@on_servers
def test_figures_of_all_processes_are_added_up(
    static: StaticSender, a_site: MonitoredSite, tmp_path: Path
) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra [prometheus]")
    shared = tmp_path / "figures"
    shared.mkdir()
    own_port = free_port()
    with (
        web_server(a_site, static.secret, tmp_path, shared) as port,
        a_site.monitored_worker(PROMETHEUS_MULTIPROC_DIR=shared, METRICS_PORT=str(own_port)),
    ):
        body = static.encode(envelope("batch.failed"))
        for number in range(EVENTS):
            headers = static.headers(body, f"m{number}", int(time.time()))
            assert post(port, body, headers, chunked=False)[0] == 200
        # As beat would: on a busy machine the broker may not answer within a request's second.
        tasks.sweep(everything=True)
        wait_until(lambda: WebhookDelivery.objects.filter(state="processed").count() == EVENTS)
        wait_until(lambda: bool(get(own_port, "/metrics")))
        # Whichever of the two answers.
        answers = [figures_of(get(port, "/metrics")) for _ in range(6)]
        of_the_worker = figures_of(get(own_port, "/metrics"))

    written_by = {file.stem.rpartition("_")[2] for file in shared.glob("*.db")}
    assert len(written_by) >= 3  # web processes and children of the worker
    for figures in [*answers, of_the_worker]:
        received = 'type="batch.failed"'
        assert [
            value
            for name, value in figures.items()
            if name.startswith("gemini_webhooks_deliveries_received_total{") and received in name
        ] == [EVENTS]
        run = 'gemini_webhooks_receiver_runs_total{outcome="succeeded",receiver="sound"}'
        assert figures[run] == EVENTS
        assert figures['gemini_webhooks_receiver_run_seconds_count{receiver="sound"}'] == EVENTS
        assert figures['gemini_webhooks_processing_seconds_count{type="batch.failed"}'] == EVENTS
        assert figures['gemini_webhooks_request_seconds_count{status="200"}'] == EVENTS
    for figures in answers:
        assert figures["gemini_webhooks_database_up"] == 1
        assert figures['gemini_webhooks_runs{state="due"}'] == 0


@on_servers
def test_lines_of_a_worker_say_what_they_are_about(
    static: StaticSender, a_site: MonitoredSite, tmp_path: Path
) -> None:
    file = tmp_path / "lines"
    with a_site.monitored_worker(MONITORING_LINES=file):
        static.post(static.envelope("video.generated"), webhook_id="m")
        wait_until(lambda: "at work" in {line["message"] for line in json_lines(file)})

    [line] = [line for line in json_lines(file) if line["message"] == "at work"]
    about = {name: line[name] for name in ("webhook_id", "delivery_id", "receiver", "attempt")}
    assert about == {
        "webhook_id": "m",
        "delivery_id": str(WebhookDelivery.objects.get().pk),
        "receiver": "telling",
        "attempt": "1",
    }
    assert {line["webhook_id"] for line in json_lines(file)} <= {"", "m"}


NOT_INSTALLED = """
import io, json, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        library = name.partition(".")[0]
        if library in ("prometheus_client", "opentelemetry", "google", "rest_framework"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
import django
django.setup()
from django.core.management import call_command
from django.test import Client
from gemini_webhooks.observe import observers
from tests.senders import StaticSender
from django.conf import settings
sender = StaticSender(secret=settings.GEMINI_WEBHOOKS["SIGNING_SECRETS"][0])
stored = sender.post(sender.envelope("batch.failed"), webhook_id="m").json()
call_command("gemini_webhooks", "drain", stdout=io.StringIO())
metrics = Client().get("/metrics")
print(json.dumps({
    "observers": len(observers._observers),
    "stored": stored,
    "health": Client().get("/health/").json(),
    "metrics": [metrics.status_code, metrics.content.decode()],
    "libraries": [name for name in sys.modules if name.startswith(("prometheus", "opentel"))],
}))
"""


@pytest.mark.parametrize("database", ["default"], indirect=True)
def test_without_the_libraries_all_else_works(static: StaticSender, database: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOT_INSTALLED],
        cwd=PROJECT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.monitoring.process_settings",
            "WORKER_DATABASE": json.dumps(connection.settings_dict, default=str),
            "SERVER_SECRET": static.secret,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])

    assert told == {
        "observers": 0,
        "stored": {"status": "accepted"},
        "health": {"status": "ok"},
        "metrics": [
            501,
            "Not installed here: pip install 'django-gemini-webhooks[prometheus]'\n",
        ],
        "libraries": [],
    }
    assert WebhookDelivery.objects.get().state == "processed"


def test_folder_for_the_figures_that_is_not_there_stops_nothing(
    static: StaticSender, tmp_path: Path
) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra [prometheus]")
    program = "import django; django.setup(); from gemini_webhooks.observe import observers; "
    program += "print([type(one).__module__ for one in observers._observers])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "nowhere"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "metrics" not in done.stdout
    assert "prometheus_client cannot be used: FileNotFoundError" in done.stderr
