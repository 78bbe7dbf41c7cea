"""Counting the rows of a result file."""

from __future__ import annotations

import io

import pytest

from gemini_webhooks.results import rows


def counted(content: bytes) -> tuple[int, int]:
    count = rows.count(io.BytesIO(content))
    return count.rows, count.failed


@pytest.mark.parametrize(
    "line",
    [
        b'{"key": "a", "response": {}}',
        b'{"key": "a"}',
        b'{"error": null}',
        b'{"response":1,"error":2}',
    ],
)
def test_an_answer_is_a_row(line):
    assert counted(line + b"\n") == (1, 0)


@pytest.mark.parametrize(
    "line",
    [
        b'{"error": {"code": 3}}',
        b'{"error": "no", "response": null}',
        b"[]",
        b"17",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
def test_an_error_or_what_is_no_object_is_a_failed_row(line):
    assert counted(line + b"\n") == (1, 1)


def test_blank_lines_are_none_and_the_last_line_needs_no_end():
    assert counted(b'{"response": 1}\n\n \r\n{"response": 2}') == (2, 0)


def test_a_line_that_is_too_long_is_one_failed_row(monkeypatch):
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 20)
    long = b'{"response": "' + b"x" * 100 + b'"}\n'
    assert counted(long + b'{"response": 1}\n' + long.rstrip()) == (3, 2)


def test_a_line_that_just_fits_is_read(monkeypatch):
    line = b'{"response": 1}\n'
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", len(line))
    assert counted(line * 2) == (2, 0)


@pytest.mark.parametrize(
    ("name", "content_type", "expected"),
    [
        ("output.jsonl", "application/jsonl", True),
        ("abc", "", True),
        ("output.jsonl", "application/octet-stream", True),
        ("v.mp4", "application/octet-stream", False),
        ("abc", "video/mp4", False),
        ("abc", "image/png", False),
    ],
)
def test_rows_are_counted_in_what_may_be_lines(name, content_type, expected):
    assert rows.is_jsonl(io.BytesIO(b"{}\n"), name=name, content_type=content_type) is expected


def test_rows_are_not_counted_in_what_is_binary():
    assert not rows.is_jsonl(io.BytesIO(b"\x00\x01\n"), name="abc", content_type="")
