"""Counts the rows of a JSONL file in one pass, holding one line at a time."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_LINE_BYTES = 64 * 1024**2
MEDIA = ("video", "audio", "image")
HEAD_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many rows, and how many of these failed or are unreadable."""

    rows: int = 0
    failed: int = 0


def is_jsonl(file: BinaryIO, *, name: str, content_type: str) -> bool:
    """Whether it makes sense to count rows: not in a video or anything else that is not text.

    Args:
        file: read from its start.
        name: file name, for its ending.
        content_type: may be empty.
    """
    guessed = mimetypes.guess_type(name)[0] or ""
    if content_type.startswith(MEDIA) or guessed.startswith(MEDIA):
        return False
    file.seek(0)
    return b"\x00" not in file.read(HEAD_BYTES)


def count(file: BinaryIO, on_line: Callable[[], None] = lambda: None) -> Count:
    """Count the lines that are not blank; those without an answer count as failed as well.

    Args:
        file: read from its start.
        on_line: called after every line.
    """
    rows = failed = 0
    for line in _lines(file):
        if line is None or line.strip():
            rows += 1
            failed += line is None or _is_failed(line)
        on_line()
    return Count(rows=rows, failed=failed)


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield each line; ``None`` for one that is too long to be looked at."""
    file.seek(0)
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        yield None
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)


def _is_failed(line: bytes) -> bool:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return True
    if not isinstance(row, dict):
        return True
    return row.get("error") is not None and row.get("response") is None
