"""Result files: how many, how long, how much, and in which trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gemini_webhooks import processing, receivers
from gemini_webhooks.emulator import EmulatorServer
from tests.monitoring.spans import Spans, one
from tests.monitoring.test_metrics import Since
from tests.senders import StaticSender

pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = b'{"key": "a", "response": "confidential"}\n' * 1000


@pytest.fixture
def bucket(
    configured: dict[str, Any], settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    settings.MEDIA_ROOT = tmp_path
    configured.update(FETCH_RESULTS=True, ALLOWED_BUCKETS=["gemini-emulator"], MAX_ATTEMPTS=2)
    with EmulatorServer("127.0.0.1", 0) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server.emulator.storage


def test_fetches_are_counted_and_traced(static: StaticSender, bucket: Any, spans: Spans) -> None:
    since = Since()
    receivers.on("batch.failed", name="unused")(lambda **_: None)
    uri = bucket.put("gemini-emulator", "answers", ROWS, "text/plain")

    static.post(static.envelope(output_file_uri=uri), webhook_id="m")
    processing.drain()

    assert since("result_fetches_total", outcome="complete") == 1
    assert since("result_bytes_total") == len(ROWS)
    assert since("result_fetch_seconds_count") == 1
    fetch = one(spans(), "fetch result")
    assert (fetch.kind, fetch.status) == ("INTERNAL", "UNSET")
    assert fetch.attributes["gemini_webhooks.outcome"] == "complete"
    assert fetch.attributes["gemini_webhooks.bytes"] == len(ROWS)
    assert fetch.attributes["gemini_webhooks.webhook_id"] == "m"
    assert "confidential" not in fetch.text


def test_fetches_that_fail(static: StaticSender, bucket: Any, spans: Spans) -> None:
    since = Since()
    static.post(static.envelope(output_file_uri="gs://gemini-emulator/missing"), webhook_id="gone")
    static.post(static.envelope(output_file_uri="gs://private/o"), webhook_id="not-allowed")
    processing.drain()

    assert since("result_fetches_total", outcome="failed") == 2
    assert since("result_bytes_total") == 0
    failed = [span for span in spans() if span.name == "fetch result"]
    assert [span.status for span in failed] == ["ERROR", "ERROR"]
    assert {span.attributes["error.type"] for span in failed} == {"failed"}


def test_broken_download_counts_what_came(
    static: StaticSender, bucket: Any, monkeypatch: pytest.MonkeyPatch, configured: dict[str, Any]
) -> None:
    """A file that grows too large while it comes."""
    since = Since()
    configured["MAX_RESULT_BYTES"] = len(ROWS) - 1
    uri = bucket.put("gemini-emulator", "answers", ROWS, "text/plain")
    static.post(static.envelope(output_file_uri=uri))
    processing.drain()

    assert since("result_fetches_total", outcome="failed") == 1
    assert since("result_bytes_total") < len(ROWS)
