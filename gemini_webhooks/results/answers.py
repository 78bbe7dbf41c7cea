"""Counts the lines of a result file, and those without an answer."""

from __future__ import annotations

import re
from codecs import utf_8_decode
from collections.abc import Callable
from functools import cache
from typing import Any

from gemini_webhooks import jsonl

NOTHING = (b"", b"null")
#: The standard library refuses integers of more digits, as long as the site does not allow them.
MAX_DIGITS = 4300
#: Four of these in a row are in any number of more digits.
STEP = MAX_DIGITS // 4
#: For larger texts memory comes from the system each time, which takes longer than decoding.
PART_BYTES = 16 * 1024
OPENING, CLOSING = b"{}"
FOUR_DIGITS = re.compile(rb"\d{4}")


def count(block: bytes, start: int, end: int, *, longest: int) -> tuple[int, int]:
    """How many lines of a part of ``block`` are not blank, and how many of these failed.

    A line has failed unless it is a JSON object without an error, or with a response beside it.
    With msgspec installed, what need not be known is only skimmed, as long as it is in order.

    Args:
        block: has whole lines from ``start`` to ``end``.
        start: where the first one begins.
        end: where the last one ends.
        longest: lines of so many bytes are not looked at, and have failed.
    """
    if end - start < longest and (skim := _skimmer()) and (found := skim(block, start, end)):
        return found
    rows = failed = 0
    for line in block[start:end].split(b"\n"):
        if len(line) >= longest or (line and not line.isspace()):
            rows += 1
            failed += len(line) >= longest or not _has_answer(line)
    return rows, failed


def _has_answer(line: bytes) -> bool:
    try:
        row = jsonl.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(row, dict):
        return False
    return row.get("error") is None or row.get("response") is not None


@cache
def _skimmer() -> Callable[[bytes, int, int], tuple[int, int] | None] | None:
    """What counts lines of which each is a JSON object, if there is anything that can."""
    msgspec = jsonl.fast()
    if msgspec is None:
        return None
    none = msgspec.Raw()
    fields = [(name, msgspec.Raw, none) for name in ("error", "response")]
    decode = msgspec.json.Decoder(msgspec.defstruct("Row", fields, gc=False)).decode_lines

    def skim(block: bytes, start: int, end: int) -> tuple[int, int] | None:
        if not (expected := _objects(block, start, end)):
            return None
        lines = memoryview(block)[start:end]
        # What is skimmed may be anything, but for its structure.
        if FOUR_DIGITS.search(lines[::STEP].tobytes()):
            return None
        if not block.isascii() and not _is_utf8(lines):
            return None
        try:
            rows: list[Any] = decode(lines)
        except (ValueError, RecursionError):
            return None
        if len(rows) != expected:  # one line may have several
            return None
        errors = [row for row in rows if bytes(row.error) not in NOTHING]
        return len(rows), sum(bytes(row.response) in NOTHING for row in errors)

    return skim


def _is_utf8(text: memoryview) -> bool:
    at = 0
    try:
        while at + PART_BYTES < len(text):
            at += utf_8_decode(text[at : at + PART_BYTES], "strict", False)[1]
        utf_8_decode(text[at:], "strict", True)
    except ValueError:
        return False
    return True


def _objects(block: bytes, start: int, end: int) -> int:
    """How many lines there are, if each begins with ``{`` and ends with ``}``; otherwise 0.

    No object goes on between these two, so each line has one of its own, or several.
    """
    found = 0
    while start < end:
        if block[start] != OPENING:
            return 0
        # ``bytes.count`` would look at each byte and take three times as long.
        stop = block.find(b"\n", start, end)
        if stop < 0:
            return found + 1
        if block[stop - 1] != CLOSING and not block.endswith(b"}\r", start, stop):
            return 0
        found += 1
        start = stop + 1
    return found
