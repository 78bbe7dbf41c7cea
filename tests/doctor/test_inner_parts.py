"""Database, secrets, Celery, receivers and results."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from gemini_webhooks import beat_schedule, receivers, registration, signals
from gemini_webhooks.conf import EMULATOR, EMULATOR_WORKER
from gemini_webhooks.models import RejectedRequest, WebhookDelivery, WebhookEndpoint
from tests import servers
from tests.conftest import every_database
from tests.doctor.conftest import PROJECT, Report, doctor, run_process
from tests.senders import StaticSender, new_secret

SECRETS = "secrets, endpoint “acme”"
sqlite = pytest.mark.django_db

# --- the database


@every_database
def test_database(database: str, configured: dict[str, Any]) -> None:
    report = doctor()

    assert report["database"] == {
        "name": "database",
        "status": "ok",
        "message": f"The tables are migrated and can be written to ({database}).",
        "hint": "",
    }
    assert not RejectedRequest.objects.exists()


@sqlite
def test_database_that_is_not_migrated(configured: dict[str, Any]) -> None:
    MigrationRecorder(connection).migration_qs.filter(app="gemini_webhooks").delete()

    found = doctor()["database"]

    assert found["status"] == "failure"
    assert "Not migrated: 0001_initial" in found["message"]
    assert "`manage.py migrate`" in found["hint"]


def process_on(**database: Any) -> Report:
    """A doctor in a process of its own, on another database."""
    done = run_process(
        "--json",
        DJANGO_SETTINGS_MODULE="tests.worker_settings",
        WORKER_DATABASE=json.dumps({"ENGINE": "django.db.backends.sqlite3", **database}),
    )
    assert done.stderr == ""
    return Report(json.loads(done.stdout), done.returncode)


def test_database_without_tables(tmp_path: Path) -> None:
    report = process_on(NAME=str(tmp_path / "empty.sqlite3"))

    assert "Not migrated: 0001_initial" in report["database"]["message"]
    assert report.status("drift") == report.status("ping") == "skipped"
    assert report.exit_code == 1


def test_database_that_is_away(tmp_path: Path) -> None:
    report = process_on(NAME=str(tmp_path / "no" / "such" / "folder"))

    assert "cannot be used: OperationalError" in report["database"]["message"]
    assert report.status("backlog") == "skipped"


@sqlite
def test_sqlite_that_locks_late(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {})

    good, late = doctor().all("database")

    assert (good["status"], late["status"]) == ("ok", "warning")
    assert '"transaction_mode": "IMMEDIATE"' in late["hint"]


# --- secrets


@pytest.fixture
def endpoint(configured: dict[str, Any]) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(slug="acme")


@sqlite
def test_secrets(endpoint: WebhookEndpoint, static: StaticSender) -> None:
    registration.secrets.store(endpoint, new_secret())

    report = doctor()

    assert report.status(SECRETS) == report.status("secrets, root") == "ok"


@sqlite
def test_secret_that_cannot_be_read(endpoint: WebhookEndpoint, settings: Any) -> None:
    registration.secrets.store(endpoint, new_secret())
    settings.SECRET_KEY = "another" * 10

    found = doctor()[SECRETS]

    assert found["status"] == "failure"
    assert "1 signing secret(s) cannot be read" in found["message"]
    assert "ENCRYPTION_KEYS" in found["hint"]


@sqlite
def test_endpoint_without_a_secret(endpoint: WebhookEndpoint) -> None:
    expired = registration.secrets.store(endpoint, new_secret())
    expired.expires_at = timezone.now() - timedelta(seconds=1)
    expired.save()
    found = doctor()[SECRETS]
    assert "every event is refused" in found["message"]
    assert "rotate" not in found["hint"]
    assert "create it again, or `manage.py gemini_webhooks sync`" in found["hint"]

    endpoint.remote_id = "known-to-google"
    endpoint.save()
    assert "rotate acme" in doctor()[SECRETS]["hint"]

    endpoint.audiences = ["aud"]
    endpoint.save()
    assert doctor().status(SECRETS) == "ok"


@sqlite
def test_nothing_is_accepted_anywhere(configured: dict[str, Any]) -> None:
    configured["AUDIENCES"] = []

    found = doctor()["secrets, root"]

    assert found["status"] == "warning"
    assert "create SLUG" in found["hint"]


# --- Celery


@sqlite
def test_no_broker_to_speak_of(configured: dict[str, Any]) -> None:
    assert doctor().status("broker") == "warning"  # memory, as the tests have it


@sqlite
def test_broker_that_refuses(configured: dict[str, Any], celery: Callable[..., Celery]) -> None:
    celery("redis://:pass-word@127.0.0.1:1/0")

    found = doctor()["broker"]

    assert found["status"] == "failure"
    assert "redis at 127.0.0.1" in found["message"]
    assert "pass-word" not in found["message"]
    assert "drain" in found["hint"]


@sqlite
def test_broker_that_never_answers(
    configured: dict[str, Any], celery: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemini_webhooks.doctor.workers.BROKER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        celery(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}//")
        found = doctor()["broker"]

    assert "no answer within 0.5 s" in found["message"]


@sqlite
def test_broker_whose_library_is_not_installed(
    configured: dict[str, Any], celery: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kombu.transport.mongodb", None)
    celery("mongodb://127.0.0.1:1/")

    found = doctor()["broker"]

    assert found["status"] == "failure"
    assert "pip install 'celery[redis]'" in found["hint"]


@sqlite
def test_tasks_that_run_at_once(configured: dict[str, Any], celery: Callable[..., Celery]) -> None:
    celery("memory://", task_always_eager=True)

    assert "TASK_ALWAYS_EAGER" in doctor()["broker"]["message"]


@pytest.mark.server("redis")
@sqlite
def test_broker_without_workers(
    configured: dict[str, Any], celery: Callable[..., Celery], monkeypatch: pytest.MonkeyPatch
) -> None:
    celery(servers.URLS["redis"], control_exchange=uuid.uuid4().hex)
    monkeypatch.setattr("gemini_webhooks.dispatch.inspection.REPLY_SECONDS", 0.3)

    report = doctor()

    assert report.status("broker") == "ok"
    assert report["workers"]["message"] == "No worker answers."


@pytest.mark.server("redis")
@sqlite
def test_worker_that_does_not_know_our_tasks(
    configured: dict[str, Any], celery: Callable[..., Celery]
) -> None:
    queue = f"gemini-test-{uuid.uuid4().hex}"
    app = celery(servers.URLS["redis"], task_default_queue=queue)
    receivers.on("batch.succeeded", name="nightly", queue="nightly")(lambda **_: None)
    name = f"stranger@{queue}"
    command = "celery -A tests.doctor.stranger worker --pool solo --loglevel ERROR"
    environment = {**os.environ, "WORKER_BROKER": servers.URLS["redis"]}
    del environment["DJANGO_SETTINGS_MODULE"]  # with it, Celery sets up our site
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split(), "-n", name, "--queues", queue],
        cwd=PROJECT,
        env=environment,
    )
    try:
        deadline = time.monotonic() + 40
        while not app.control.inspect(destination=[name], timeout=1).ping():
            assert time.monotonic() < deadline, "the worker does not answer"
        report = doctor()
    finally:
        process.terminate()
        process.wait(30)
        with app.connection_for_write() as connected:
            connected.default_channel.queue_delete(queue)

    assert report.status("workers") == "failure"
    assert f"{name} takes our messages but does not know our tasks" in report["workers"]["message"]
    assert report["queues"]["message"] == "No worker takes from nightly."


@sqlite
def test_beat(configured: dict[str, Any], celery: Callable[..., Celery]) -> None:
    app = celery("memory://")
    assert "No sweep is scheduled" in doctor()["beat"]["message"]

    app.conf.beat_schedule = {"sweep": {"task": "gemini_webhooks.tasks.sweep", "schedule": 30}}
    found = doctor()["beat"]
    assert (found["status"], "sync_endpoints" in found["message"]) == ("warning", True)

    app.conf.beat_schedule = {**beat_schedule()}
    assert doctor().status("beat") == "ok"


@sqlite
def test_site_that_works_itself_needs_no_celery(
    configured: dict[str, Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:9")
    monkeypatch.setenv(EMULATOR_WORKER, "1")
    settings.DEBUG = True
    report = doctor()
    assert (report.status("broker"), report.status("beat")) == ("ok", "ok")
    assert "--with-worker" in report["broker"]["message"]
    assert "--with-worker" in report["beat"]["message"]

    settings.DEBUG = False  # where the variables do not count
    report = doctor()
    assert "--with-worker" not in report["broker"]["message"]
    assert "--with-worker" not in report["beat"]["message"]


@sqlite
def test_backlog(static: StaticSender) -> None:
    static.post()
    assert doctor().status("backlog") == "ok"

    WebhookDelivery.objects.update(received_at=timezone.now() - timedelta(minutes=6))
    found = doctor()["backlog"]
    assert (found["status"], found["message"][:12]) == ("warning", "1 deliveries")


# --- receivers


@sqlite
def test_receivers(configured: dict[str, Any]) -> None:
    assert "None is connected" in doctor()["receivers"]["message"]

    def note(**_: object) -> None:
        pass

    receivers.on("batch.completed", name="nightly")(note)
    signals.event_received.connect(note)
    signals.result_ready.connect(note)
    found = doctor()["receivers"]

    place = f"{__name__}.test_receivers.<locals>.note"
    assert found["status"] == "ok"
    assert found["message"] == (
        f"batch.succeeded: nightly; every event: {place}; result_ready: {place}."
    )


@sqlite
def test_receivers_that_nobody_imported(settings: Any, configured: dict[str, Any]) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.doctor.forgetful"]

    _, forgotten = doctor().all("receivers")

    assert forgotten["status"] == "warning"
    assert "tests.doctor.forgetful.receivers" in forgotten["message"]
    assert "from tests.doctor.forgetful import receivers" in forgotten["hint"]


# --- results


@pytest.fixture
def fetching(configured: dict[str, Any]) -> dict[str, Any]:
    configured["FETCH_RESULTS"] = True
    return configured


@sqlite
def test_result_storage(fetching: dict[str, Any], tmp_path: Path) -> None:
    report = doctor()

    assert report.status("results") == "ok"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert "ALLOWED_BUCKETS is empty" in report["buckets"]["message"]


@sqlite
def test_result_storage_that_takes_nothing(
    fetching: dict[str, Any], settings: Any, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path / "file"
    settings.MEDIA_ROOT.write_text("no folder")
    assert "does not take files: NotADirectoryError" in doctor()["results"]["message"]

    settings.MEDIA_ROOT = ""
    assert "Set MEDIA_ROOT" in doctor()["results"]["hint"]

    fetching["FETCH_RESULTS"] = False
    assert doctor().status("results") == "skipped"


@sqlite
def test_buckets(fetching: dict[str, Any], api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")
    fetching["ALLOWED_BUCKETS"] = ["answers", "answers"]
    assert doctor().status("buckets, answers") == "ok"  # said once

    api.emulator.faults.fail_next(status=403, path_contains="/b/answers/")
    found = doctor()["buckets, answers"]
    assert found["status"] == "failure"
    assert "Storage Object Viewer" in found["message"]

    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    assert "[gcs]" in doctor()["buckets"]["hint"]
