"""Content, whole or in part (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from django.http import StreamingHttpResponse

from gemini_webhooks.emulator.errors import ApiError
from gemini_webhooks.emulator.objects import read

RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


def content(
    data: bytes | Path, size: int, range_header: str, *, cut: int | None = None
) -> StreamingHttpResponse:
    """Stream ``data``: 200, 206 for a range, 416 for one that lies outside.

    Args:
        data: the content or a file that has it.
        size: its length in bytes.
        range_header: empty if the client wants all of it.
        cut: break the connection after so many bytes.
    """
    start, end = _span(range_header, size)
    chunks = read(data, start, end)
    response = StreamingHttpResponse(chunks if cut is None else _cut(chunks, cut))
    response["Content-Length"] = str(end - start)
    response["Accept-Ranges"] = "bytes"
    if end - start < size:
        response.status_code = 206
        response["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return response


def _span(header: str, size: int) -> tuple[int, int]:
    """First byte and the one after the last; a header that is no range is ignored."""
    match = RANGE.fullmatch(header)
    if match is None or not any(match.groups()):
        return 0, size
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        raise ApiError(416, "The range lies outside.", {"Content-Range": f"bytes */{size}"})
    return start, end


def _cut(chunks: Iterator[bytes], left: int) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            raise ConnectionAbortedError("cut on purpose")
