"""Counting the rows of a result file."""

from __future__ import annotations

import json
import math
import random
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from gemini_webhooks import jsonl
from gemini_webhooks.results import answers, rows

pytestmark = pytest.mark.usefixtures("with_and_without_the_extra")


def count(*blocks: bytes, name: str = "abc", content_type: str = "") -> rows.Count:
    counter = rows.Counter(name=name, content_type=content_type)
    for block in blocks:
        counter.feed(block)
    return counter.finish()


def counted(*blocks: bytes) -> tuple[int, int]:
    found = count(*blocks)
    return found.rows, found.failed


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


def test_an_object_over_two_lines_is_two_failed_rows():
    assert counted(b'{"response":\n1}\n{"response": 2}\n') == (3, 2)


#: What comes right and makes up for what does not, so that as many objects as lines are there.
UNEVEN = [
    b'{"key":1,"response":{}}{"key":2,"response":{}}\n\n{"key":3,"response":{}}\n',
    b'{"key":1,\n"response":{}}{"key":2,"response":{}}\n',
    b'{"response":{}}{"response":{}}\n \n',
    b"{}{}\r\n\r\n",
    b"\n{}{}\n",
    b'{}{}\n{}{}\n{"a":{}\n}\n\n',
    b'{"error":{}\n}{"response":{\n}}{}\n{}\n',
    b'{"error":[{}\n,{}]}{}\n',
    b'{}{"a":[{},\n{}]}\n',
    b'{"error":1}\r\n{}\r{}\n\r\n',
    b"{}\n{}{}\n\n{}",
    b'{"a":"}\n{"}{}\n{}\n',
    b"{}{}\n\n",
    b'{"a":[\r\n{}]}{}\n',
    b"{}\n{}{",
]


def expected_of(content: bytes) -> tuple[int, int]:
    lines = [line for line in content.split(b"\n") if line.strip()]
    rows = [rows_of_the_standard_library(line) for line in lines]
    return len(rows), sum(
        not isinstance(row, dict) or (row.get("error") is not None and row.get("response") is None)
        for row in rows
    )


def test_in_whatever_pieces_a_line_is_what_the_standard_library_makes_of_it():
    chance = random.Random(7)
    odd = [b"", b"\r", b"{}", b'{"error":1}', b"{}{}", b'{"a":', b"{", b"}", b"}{", b" {}", b"{} "]
    made = [b"\n".join(chance.choices(odd, k=chance.randint(1, 6))) for _ in range(1000)]
    for content in (*UNEVEN, *made):
        cuts = sorted(chance.choices(range(len(content) + 1), k=3))
        pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
        one_by_one = [content[at : at + 1] for at in range(len(content))]
        for fed in ([content], pieces, one_by_one):
            assert counted(*fed) == expected_of(content), fed


def test_nothing_is_kept_of_blocks_that_end_with_a_line():
    counter = rows.Counter(name="", content_type="")
    for _ in range(3):
        counter.feed(b"{}\n")
    assert counter._begun == []


@pytest.mark.parametrize(
    ("version", "is_used"),
    [("0.19.0", False), ("0.9.1", False), ("0.20.0rc1", True), ("1.0", True), ("unknown", False)],
)
def test_only_a_msgspec_that_the_extra_would_install_is_used(monkeypatch, version, is_used):
    monkeypatch.setitem(sys.modules, "msgspec", SimpleNamespace(__version__=version))
    assert (jsonl.fast() is not None) == is_used


def test_with_an_old_msgspec_it_is_as_without_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", SimpleNamespace(__version__="0.18.6"))
    assert answers._skimmer() is None
    assert jsonl.loads(b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("digits", [4301, 5000, 20_000])
@pytest.mark.parametrize("before", [0, 1, 537, 1074])
def test_a_number_of_too_many_digits_is_seen_wherever_it_is(digits, before):
    line = b'{"%b": %b}\n' % (b"x" * before, b"1" * digits)
    assert counted(b"{}\n", line) == (2, 1)


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


@pytest.mark.parametrize("size", [1, 2, 7, 30, 1000])
def test_it_does_not_matter_in_which_pieces_a_file_comes(monkeypatch, size):
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 60)
    content = (
        b'{"key": "a", "response": "\xc3\xa9"}\n\r\n\n{"error": 1}\r\n{"x": "'
        + b"x" * 100
        + b'"}\n[]\n  \n{"response": 2}'
    )
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    assert counted(*pieces) == (5, 3)


@pytest.mark.parametrize(
    ("name", "content_type", "expected"),
    [
        ("output.jsonl", "application/jsonl", 1),
        ("abc", "", 1),
        ("output.jsonl", "application/octet-stream", 1),
        ("v.mp4", "application/octet-stream", 0),
        ("abc", "video/mp4", 0),
        ("abc", "image/png", 0),
    ],
)
def test_rows_are_counted_in_what_may_be_lines(name, content_type, expected):
    assert count(b"{}\n", name=name, content_type=content_type).rows == expected


@pytest.mark.parametrize("pieces", [[b"{}\n\x00\x01\n"], [b"{}\n", b"\x00\x01\n"]])
def test_rows_are_not_counted_in_what_is_binary(pieces):
    assert count(*pieces) == rows.Count()


def test_a_nul_beyond_the_head_spoils_its_line_only():
    assert counted(b"{}\n" * rows.HEAD_BYTES + b"\x00\n") == (rows.HEAD_BYTES + 1, 1)


#: What parsers differ in. Each is put into a row, and parsed as the standard library does.
ODD = [
    b"NaN",
    b"-Infinity",
    b"1e400",
    b"-1e-400",
    b"-0",
    b"-0.0",
    b"9007199254740993",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"1" * 400,
    b"1" * 5000,
    b"01",
    b"1.",
    b"+1",
    b"0.30000000000000004",
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\\u0000"',
    b'"\xed\xa0\x80"',
    b'"\xff"',
    b'"\xc0\x80"',
    b'"\xe2\x82"',
    b'"\x1f"',
    b'"\x00"',
    b'"\t"',
    b'"\\q"',
    b'"\\u12"',
    b"nul",
    b"1,",
    b'1, "x": 2, "a": 3',
    b'1, "error": 2',
    b'1, "error": 2, "error": null',
    b'1, "err\\u006fr": 2',
    b'1, "error": 2, "response": null',
    b'1, "error": 2, "response": {}',
    b'1, "error": {}, "response": {}, "response": null',
    b"[" * 100_000 + b"]" * 100_000,
    b'"' + "–".encode() * 10_000 + b'"',
    b'"' + "–".encode() * 10_000 + b"\xe2\x80" + b'"',
]


def rows_of_the_standard_library(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return type(error)


def rows_of_ours(line: bytes) -> Any:
    try:
        return jsonl.loads(line)
    except (ValueError, RecursionError) as error:
        return type(error)


def shape(value: Any) -> Any:
    """What tells values apart that are equal: types, the order of keys, NaN and the sign of 0."""
    if isinstance(value, dict):
        return [(key, shape(one)) for key, one in value.items()]
    if isinstance(value, float):
        return float, "nan" if math.isnan(value) else value.hex()
    return type(value), value


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd[:20]))
@pytest.mark.parametrize("around", [b'{"a": %b}', b'\xef\xbb\xbf{"a": %b}', b'{"a": %b} x'])
def test_odd_json_is_what_the_standard_library_makes_of_it(odd, around):
    line = around % odd
    expected = rows_of_the_standard_library(line)
    assert shape(rows_of_ours(line)) == shape(expected)
    failed = not isinstance(expected, dict) or (
        expected.get("error") is not None and expected.get("response") is None
    )
    head = b'{"a": "%b"}\n' % (b"x" * rows.HEAD_BYTES)  # a NUL in it would make a binary file of it
    for end in (b"", b"\n", b"\n{}\n"):
        assert counted(head, line + end) == (2 + end.count(b"{}"), failed)


def test_other_encodings_are_what_the_standard_library_makes_of_them():
    for encoding in ("utf-16", "utf-16-le", "utf-32-be", "utf-8-sig"):
        assert jsonl.loads('{"a": "é"}'.encode(encoding)) == {"a": "é"}
