"""An emulator, the official clients pointed at it, and a result file to fetch."""

from __future__ import annotations

import gc
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gemini_webhooks import gateway, jsonl
from gemini_webhooks.emulator import server
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.emulator.state import Emulator
from gemini_webhooks.models import ResultFile, WebhookDelivery
from gemini_webhooks.results import answers

BUCKET = "results"
KEY = "test-key"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the emulator was asked for."""

    host: str
    path: str
    range: str


@dataclass(frozen=True, kw_only=True)
class Google:
    url: str
    emulator: Emulator
    requests: list[Request]

    @property
    def downloads(self) -> list[Request]:
        return [seen for seen in self.requests if "download" in seen.path]


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    seen: list[Request] = []
    respond = server.respond

    def recording(request: Any) -> Any:
        headers = request.headers
        seen.append(
            Request(host=headers["host"], path=request.path, range=headers.get("range", ""))
        )
        return respond(request)

    monkeypatch.setattr(server, "respond", recording)
    with EmulatorServer(job_seconds=0, api_key=KEY) as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        yield Google(url=running.url, emulator=running.emulator, requests=seen)
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture(autouse=True)
def site(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A site with a storage and a spool folder of its own; returns its ``GEMINI_WEBHOOKS``."""
    spool = tmp_path / "tmp"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.GEMINI_WEBHOOKS = {
        "ALLOWED_BUCKETS": [BUCKET],
        "API_KEYS": {"default": KEY},
        "RETRY_BASE_SECONDS": 0,
    }
    return settings.GEMINI_WEBHOOKS


@pytest.fixture
def stored(tmp_path: Path) -> Any:
    """All files that are in the storage now."""
    return lambda: [path for path in (tmp_path / "media").rglob("*") if path.is_file()]


@pytest.fixture
def spooled(tmp_path: Path) -> Any:
    """All part files that are there now."""
    return lambda: list((tmp_path / "tmp").rglob("*.part"))


@pytest.fixture
def result_of() -> Any:
    """Makes a pending ``ResultFile`` for a URI."""

    def make(uri: str, *, resource_id: str = "batch_1") -> ResultFile:
        delivery = WebhookDelivery.objects.create(
            webhook_id=f"msg_{WebhookDelivery.objects.count()}",
            signing="hmac",
            event_type="batch.succeeded",
            resource_id=resource_id,
        )
        made: ResultFile = ResultFile.objects.create(
            delivery=delivery, source_uri=uri, next_attempt_at=delivery.received_at
        )
        return made

    return make


@pytest.fixture(params=["fast", "plain"])
def with_and_without_the_extra(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """What holds with msgspec and without it."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "msgspec", None)
    else:
        pytest.importorskip("msgspec", reason="needs msgspec, extra fast")
    for cached in (jsonl._decoder, answers._skimmer):
        cached.cache_clear()
    yield
    for cached in (jsonl._decoder, answers._skimmer):
        cached.cache_clear()
