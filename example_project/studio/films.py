"""Sends a video whole or in parts: Safari plays none that does not come in parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import IO, Any

from django.core.files import File
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from werkzeug.http import parse_range_header

CHUNK_BYTES = 64 * 1024
NOT_IN_FILE = 416


def send(request: HttpRequest, file: File[bytes], *, name: str) -> HttpResponseBase:
    """Answer with the file, or the part of it that the header ``Range`` asks for."""
    size = file.size
    # There is no ETag, so a part for a file known by one gets the whole of today's.
    header = "" if "If-Range" in request.headers else request.headers.get("Range", "")
    asked = parse_range_header(header) if request.method == "GET" else None
    response: HttpResponseBase
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        response = FileResponse(file, filename=name, content_type="video/mp4")
    elif (part := asked.range_for_length(size)) is None:
        file.close()
        response = HttpResponse(status=NOT_IN_FILE, headers={"Content-Range": f"bytes */{size}"})
    else:
        start, stop = part
        response = StreamingHttpResponse(
            _bytes(file, start, stop),
            status=206,
            content_type="video/mp4",
            headers={
                "Content-Range": f"bytes {start}-{stop - 1}/{size}",
                "Content-Length": str(stop - start),
            },
        )
    response["Accept-Ranges"] = "bytes"
    return response


def _bytes(file: IO[Any] | File[bytes], start: int, stop: int) -> Iterator[bytes]:
    with closing(file):
        file.seek(start)
        left = stop - start
        while left and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
