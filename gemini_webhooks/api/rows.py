"""The rows of a result file, a page at a time, each page read from where it begins."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.core.files import File

from gemini_webhooks import redaction
from gemini_webhooks.api.content import writable

#: Longer rows are not shown; whoever wants them downloads the file.
MAX_ROW_BYTES = 1024 * 1024
#: A page ends once it has read so much, however many rows were asked for.
MAX_PAGE_BYTES = 4 * MAX_ROW_BYTES


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line that is not blank.

    Attributes:
        position: where it begins in the file, in bytes.
        row: what may be seen of it; ``None`` if nothing.
        problem: ``unreadable``, ``too_large`` or ``redaction``; empty if it is shown.
    """

    position: int
    row: Any = None
    problem: str = ""


def read(file: File[bytes], *, after: int, limit: int) -> tuple[list[Row], int | None]:
    """Read up to ``limit`` rows.

    Args:
        file: seekable.
        after: the first row is the first that begins here or later, in bytes.
        limit: how many rows.

    Returns:
        The rows, and where to go on; ``None`` at the end.
    """
    _go_to(file, after)
    begin = file.tell()
    found: list[Row] = []
    while len(found) < limit and file.tell() - begin < MAX_PAGE_BYTES:
        position = file.tell()
        line = file.readline(MAX_ROW_BYTES)
        if not line:
            return found, None
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            _pass_over(file)
            found.append(Row(position=position, problem="too_large"))
        elif line.strip():
            found.append(_shown(position, line))
    position = file.tell()
    return found, position if file.read(1) else None


def _go_to(file: File[bytes], after: int) -> None:
    """To the first line that begins at ``after`` or later."""
    if after > 0:
        # Past the end some files cannot be sought.
        file.seek(min(after, file.seek(0, 2)) - 1)
        _pass_over(file)
    else:
        file.seek(0)


def _pass_over(file: File[bytes]) -> None:
    while (line := file.readline(MAX_ROW_BYTES)) and not line.endswith(b"\n"):
        pass


def _shown(position: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return Row(position=position, problem="unreadable")
    try:
        return Row(position=position, row=writable(redaction.shown_row(row)))
    except (redaction.CannotRedact, RecursionError):
        return Row(position=position, problem="redaction")
