"""A large result takes no more memory than a small one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("google.cloud.storage", reason="needs google-cloud-storage, extra gcs")
pytest.importorskip("google.genai", reason="needs google-genai, extra genai")

from gemini_webhooks import results
from tests.results.conftest import BUCKET

pytestmark = pytest.mark.django_db

MIB = 1024**2
LINE = b'{"key": "k", "response": {"text": "' + b"x" * (64 * 1024) + b'"}}\n'
LINES = 64 * MIB // len(LINE)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.jsonl"
    with path.open("wb") as file:
        file.writelines(LINE for _ in range(LINES))
    return path


@pytest.fixture
def peak(google: Any) -> Any:
    """Runs something and tells how far memory went up meanwhile, in bytes.

    The emulator runs in this process and is counted too; it sends files in small pieces.
    """

    def measured(run: Any) -> int:
        tracemalloc.start()
        try:
            run()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measured


def test_64_mib_are_fetched_and_read_in_constant_memory(google, result_of, big, peak):
    small = result_of(google.emulator.storage.put(BUCKET, "small", LINE, "application/jsonl"))
    assert results.fetch(small.pk).state == "complete", "imports are not what is measured"
    result = result_of(google.emulator.storage.put(BUCKET, "big", big, "application/jsonl"))

    assert peak(lambda: results.fetch(result.pk)) < 8 * MIB

    result.refresh_from_db()
    assert (result.size, result.rows, result.failed_rows) == (LINES * len(LINE), LINES, 0)
    assert peak(lambda: [None for _ in result.rows()]) < 4 * MIB


def test_a_64_mib_file_of_the_gemini_api_is_fetched_in_constant_memory(google, result_of, peak):
    small = google.emulator.files.generate(LINE, "application/jsonl")
    assert results.fetch(result_of(f"files/{small.id}").pk).state == "complete"
    file = google.emulator.files.generate(LINE * LINES, "application/jsonl")
    result = result_of(f"files/{file.id}")

    assert peak(lambda: results.fetch(result.pk)) < 8 * MIB

    result.refresh_from_db()
    assert (result.size, result.rows) == (LINES * len(LINE), LINES)
