"""Reading the rows of a stored file, with msgspec and without it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.files import File
from django.core.files.base import ContentFile

from gemini_webhooks import jsonl
from gemini_webhooks.exceptions import UnreadableRow
from gemini_webhooks.models import ResultFile

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("with_and_without_the_extra")]


@pytest.fixture
def result_with(result_of: Any) -> Any:
    def make(content: bytes) -> ResultFile:
        result = result_of("files/f")
        result.file.save("rows.jsonl", ContentFile(content))
        result.state = ResultFile.State.COMPLETE
        return result

    return make


@pytest.mark.parametrize("block", [1, 2, 3, 5, 1000])
def test_lines_may_end_as_they_like(result_with, monkeypatch, block):
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", block)
    result = result_with(b'\n{"n": 1}\r\n\r\n{"n": 2}\r{"n": 3}\n  \t\n{"n": "\xc3\xa9"}')
    assert list(result.rows()) == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": "é"}]


@pytest.mark.parametrize("block", [1, 2, 1000])
@pytest.mark.parametrize(
    "content",
    [b"", b"a", b"\n", b"\r", b"\r\n", b"a\r\r\nb\n\rc\r", b"a\r\n\n\nb", b"\x0b\n\x1c a\x85\n\n"],
)
def test_a_line_is_what_it_is_to_django(monkeypatch, content, block):
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", block)
    expected = [line.rstrip(b"\r\n") for line in File(io.BytesIO(content), "f")]
    assert list(jsonl.lines(io.BytesIO(content))) == expected


@pytest.mark.parametrize("bad", [b"{", b"17", b"[]", b"\xff", b"[" * 100_000, b'{"a": \n1}'])
def test_a_line_that_is_no_row_is_named_by_its_number(result_with, bad):
    rows = result_with(b'{"n": 1}\n\n{"n": 2}\n' + bad + b"\n").rows()
    assert [next(rows), next(rows)] == [{"n": 1}, {"n": 2}]
    with pytest.raises(UnreadableRow, match="line 4 "):
        next(rows)


def test_the_rows_can_be_read_twice(result_with):
    result = result_with(b'{"n": 1}\n')
    assert list(result.rows()) == list(result.rows()) == [{"n": 1}]


def test_no_more_is_read_than_a_block_ahead(result_with, monkeypatch):
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 1000)
    result = result_with(b'{"n": 1}\n' * 1000)
    with result.file.open("rb") as file:
        next(jsonl.lines(file))
        assert file.tell() == 1000
