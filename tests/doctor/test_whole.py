"""All of it at once: web server, worker, broker and API, each a process or server of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gemini_webhooks.emulator.server import EmulatorServer
from tests import servers
from tests.doctor.conftest import KEY, PROJECT

pytest.importorskip("google.genai", reason="needs the extra [genai]")
pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")

pytestmark = pytest.mark.server("redis")
INHERITED = ("DATABASE_URL", "CELERY_", "GEMINI_", "DJANGO_SETTINGS_MODULE", "STUDIO_")


class Example:
    """The example project, with everything that it needs running."""

    def __init__(self, folder: Path, api: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        kept = {name: v for name, v in os.environ.items() if not name.startswith(INHERITED)}
        self.environment = {
            **kept,
            "STUDIO_DIR": str(folder),
            "CELERY_BROKER_URL": servers.URLS["redis"],
            "CELERY_QUEUE": f"gemini-test-{uuid.uuid4().hex}",
            "PUBLIC_BASE_URL": self.url,
            "GEMINI_API_KEY": KEY,
            "GOOGLE_GEMINI_BASE_URL": api,
            "STORAGE_EMULATOR_HOST": api,
            "DJANGO_SETTINGS_MODULE": "example_project.config.settings",
        }

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "example_project/manage.py", *words],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def start(self, stack: ExitStack, *words: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with EmulatorServer(job_seconds=0, api_key=KEY) as api, ExitStack() as stack:
        made = Example(tmp_path, api.url, port)
        assert made.manage("migrate").returncode == 0
        web = f"gunicorn example_project.config.wsgi --bind 127.0.0.1:{port} --no-control-socket"
        made.start(stack, *web.split())
        worker = "celery -A example_project.config worker --pool solo --loglevel ERROR"
        made.start(stack, *worker.split(), "-n", f"w@{made.environment['CELERY_QUEUE']}")
        done = made.manage("gemini_webhooks", "create", "acme")
        assert done.returncode == 0, done.stderr
        yield made


def test_all_is_well(example: Example) -> None:
    deadline = time.monotonic() + 60
    while True:  # until web server and worker are up
        done = example.manage("gemini_webhooks", "doctor", "--strict", "--json")
        findings = {found["name"]: found for found in json.loads(done.stdout)}
        if findings["outside, root"]["status"] == findings["workers"]["status"] == "ok":
            break
        assert time.monotonic() < deadline, done.stdout

    assert (done.returncode, done.stderr) == (0, "")
    assert [found for found in findings.values() if found["status"] != "ok"] == []
    assert list(findings) == [
        "settings",
        "database",
        "secrets, root",
        "secrets, endpoint “acme”",
        "urls",
        "inside, root",
        "inside, endpoint “acme”",
        "outside, root",
        "outside, endpoint “acme”",
        "clock",
        "API key “default”",
        "drift, API key “default”",
        "key set",
        "receivers",
        "broker",
        "workers",
        "queues",
        "beat",
        "backlog",
        "results",
        "buckets, gemini-emulator",
        "ping, endpoint “acme”",
    ]

    # The same for people, line by line.
    done = example.manage("gemini_webhooks", "doctor")
    assert done.stdout.splitlines()[-4:] == ["ok: 22", "warning: 0", "failure: 0", "skipped: 0"]
