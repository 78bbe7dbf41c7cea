"""Counts the rows of a JSONL file while its bytes come by."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass

from gemini_webhooks.results import answers

MAX_LINE_BYTES = 64 * 1024**2
MEDIA = ("video", "audio", "image")
HEAD_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many rows, and how many of these failed or are unreadable."""

    rows: int = 0
    failed: int = 0


class Counter:
    """Counts the lines that are not blank; those without an answer count as failed as well.

    In a video or anything else that is not text there are none. Holds one line at most, beside
    what is fed.

    Args:
        name: file name, for its ending.
        content_type: may be empty.
    """

    def __init__(self, *, name: str, content_type: str) -> None:
        guessed = mimetypes.guess_type(name)[0] or ""
        self._is_text = not content_type.startswith(MEDIA) and not guessed.startswith(MEDIA)
        self._head = HEAD_BYTES  # how much of it is still to come
        self._begun: list[bytes] = []
        self._begun_bytes = 0
        self._rows = self._failed = 0

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the file."""
        if self._head:
            self._is_text = self._is_text and b"\x00" not in block[: self._head]
            self._head = max(0, self._head - len(block))
        if not self._is_text:
            return
        end = block.rfind(b"\n") + 1
        start = 0
        if end and self._begun_bytes:
            start = block.index(b"\n") + 1
            self._end(block[:start])
        if end > start:
            self._count(block, start, end)
        self._begin(block[end:])

    def finish(self) -> Count:
        """How many there were, once all bytes have come."""
        self._end(b"")
        return Count(rows=self._rows, failed=self._failed) if self._is_text else Count()

    def _begin(self, part: bytes) -> None:
        """Keep the beginning of a line; of one that is too long only that it is."""
        if not part:
            return
        self._begun_bytes += len(part)
        self._begun.append(part)
        if self._begun_bytes >= MAX_LINE_BYTES:
            self._begun.clear()

    def _end(self, part: bytes) -> None:
        """Count the line that has begun, and ends with ``part``."""
        if self._begun_bytes >= MAX_LINE_BYTES:
            self._rows += 1
            self._failed += 1
        else:
            line = b"".join((*self._begun, part))
            self._count(line, 0, len(line))
        self._begun.clear()
        self._begun_bytes = 0

    def _count(self, block: bytes, start: int, end: int) -> None:
        rows, failed = answers.count(block, start, end, longest=MAX_LINE_BYTES)
        self._rows += rows
        self._failed += failed
