"""Sends a video whole or in parts: Safari plays none that does not come in parts."""

from __future__ import annotations

from django.core.files import File
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from werkzeug.http import parse_range_header

NOT_IN_FILE = 416


class NoSuchPart(Exception):
    """The file has no such bytes."""


class Part:
    """Some bytes of a file, to be read once."""

    def __init__(self, file: File[bytes], start: int, stop: int) -> None:
        file.seek(start)
        self.file = file
        self.left = stop - start

    def read(self, size: int) -> bytes:
        """The next ones; empty at the end."""
        chunk: bytes = self.file.read(min(size, self.left))
        self.left -= len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file, also if nobody wanted it to its end."""
        self.file.close()


def send(request: HttpRequest, file: File[bytes], *, name: str, version: str) -> HttpResponseBase:
    """Answer with the file, or the part of it that the header ``Range`` asks for.

    Args:
        request: the request.
        file: the video, opened; it is closed when the answer is sent.
        name: what it is called where it is saved.
        version: another one for other bytes, so that nobody joins parts of two files.
    """
    size, etag = file.size, f'"{version}"'
    response: HttpResponseBase
    try:
        part = _part(request, size, etag)
    except NoSuchPart:
        file.close()
        response = HttpResponse(status=NOT_IN_FILE, headers={"Content-Range": f"bytes */{size}"})
    else:
        start, stop = part or (0, size)
        response = FileResponse(
            Part(file, start, stop),
            filename=name,
            content_type="video/mp4",
            status=206 if part else 200,
        )
        response["Content-Length"] = str(stop - start)
        if part:
            response["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = etag
    return response


def _part(request: HttpRequest, size: int, etag: str) -> tuple[int, int] | None:
    """Where it starts and ends; ``None`` if all of it is asked for, or something else."""
    asked = parse_range_header(request.headers.get("Range"))
    is_other = request.headers.get("If-Range", etag) != etag
    if asked is None or is_other or asked.units != "bytes" or len(asked.ranges) != 1:
        return None
    first, end = asked.ranges[0]
    start = first if first >= 0 else max(size + first, 0)
    if start >= size:
        raise NoSuchPart
    return start, min(size if end is None else end, size)
