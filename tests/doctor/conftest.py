"""``manage.py gemini_webhooks doctor``, run in this process or as an operator runs it."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from celery import Celery
from django.core.management import call_command

from gemini_webhooks import gateway
from gemini_webhooks.dispatch import messages
from gemini_webhooks.emulator.server import EmulatorServer

PROJECT = Path(__file__).parent.parent.parent
KEY = "test-key-that-is-shown-nowhere"


@dataclass(frozen=True)
class Report:
    findings: list[dict[str, str]]
    exit_code: int

    def __getitem__(self, name: str) -> dict[str, str]:
        """The only finding of this name."""
        [finding] = self.all(name)
        return finding

    def all(self, name: str) -> list[dict[str, str]]:
        return [finding for finding in self.findings if finding["name"] == name]

    def status(self, name: str) -> str:
        return self[name]["status"]


def printed(*words: str) -> tuple[str, int]:
    out = io.StringIO()
    code = 0
    try:
        call_command("gemini_webhooks", "doctor", *words, stdout=out)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return out.getvalue(), code


def doctor(*words: str) -> Report:
    text, code = printed("--json", *words)
    return Report(json.loads(text), code)


def run_process(
    *words: str, stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """As an operator runs it; warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "gemini_webhooks", "doctor", *words],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(autouse=True)
def _nobody_outside(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> Iterator[None]:
    """No test asks Google, whatever the settings are."""
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    settings.MEDIA_ROOT = tmp_path / "media"
    yield
    gateway._client.cache_clear()
    gc.collect()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, configured: dict[str, Any]) -> Iterator[EmulatorServer]:
    pytest.importorskip("google.genai", reason="needs the extra [genai]")
    with EmulatorServer(job_seconds=0, api_key=KEY, output="inline", max_tries=1) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        configured["API_KEYS"] = {"default": KEY}
        configured["AUDIENCES"] = []
        yield running


@pytest.fixture
def celery() -> Iterator[Callable[..., Celery]]:
    """Makes the site's Celery app another one."""
    before = messages.site_app()
    made: list[Celery] = []

    def make(broker: str, **conf: Any) -> Celery:
        made.append(Celery("site", broker=broker, set_as_current=True))
        made[-1].conf.update(conf)
        return made[-1]

    yield make
    for app in made:
        app.close()
    before.set_current()


@contextmanager
def answering(
    status: int = 200, body: bytes = b"", context: Any = None, **headers: str
) -> Iterator[str]:
    """A web server that gives one answer to everything; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # TLS that the client breaks off
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
