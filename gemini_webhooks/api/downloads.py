"""Sends a result file, or a part of it, straight from the storage."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import PurePosixPath
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.core.files import File
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, http_date, parse_http_date

from gemini_webhooks import clock, logs
from gemini_webhooks.api import ranges
from gemini_webhooks.api.errors import NotThere, Problem, Unavailable
from gemini_webhooks.models import ResultFile

logger = logs.get_logger(__name__)

CHUNK = 64 * 1024
CHANGED = 412
#: What an answer without the file says of it (RFC 9110, section 15.4.5).
OF_THE_FILE = ("ETag", "Last-Modified", "Cache-Control")
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


@contextmanager
def told(result: ResultFile) -> Iterator[None]:
    """Tell who asks when the storage fails: it may raise anything.

    Raises:
        NotThere: the storage does not have the file.
        Unavailable: the storage failed.
    """
    try:
        yield
    except FileNotFoundError:
        raise NotThere(
            "The storage does not have the file any more.", code="file_missing"
        ) from None
    except Exception as error:  # noqa: BLE001  # see above
        # Neither its text nor the name of the file, which nobody is to guess.
        kind = type(error).__name__
        logger.error("file of result %s not read: %s", result.pk, kind)  # noqa: TRY400  # likewise
        raise Unavailable(
            "The storage did not give the file.", code="storage_unavailable"
        ) from None


def opened(result: ResultFile) -> File[bytes]:
    """The stored file of a complete result.

    Raises:
        NotThere: it was removed, or the storage does not have it.
        Problem: it has not been fetched, yet or at all.
        Unavailable: the storage failed.
    """
    if result.state == ResultFile.State.REMOVED:
        raise NotThere(
            "The file was removed; a replay of its delivery fetches it again, if Google has it.",
            code="result_removed",
        )
    if result.state != ResultFile.State.COMPLETE or not result.file.name:
        raise Problem(
            f"There is no file: the result is {result.state}.", code="result_not_complete"
        )
    with told(result):
        file: File[bytes] = result.file.storage.open(result.file.name, "rb")
        return file


def send(request: HttpRequest, result: ResultFile) -> HttpResponseBase:
    """Answer with the file, the range of it that is asked for, 304, 412 or 416.

    Raises:
        Problem: as for :func:`opened`.
    """
    with ExitStack() as until_sent:
        file = until_sent.enter_context(closing(opened(result)))
        with told(result):
            size = file.size
        headers = _headers(result, size)
        changed = parse_http_date(headers["Last-Modified"])
        answered = get_conditional_response(request, headers["ETag"], changed)
        if answered is not None:
            refused = answered.status_code == CHANGED
            response = _changed() if refused else answered
            for name in OF_THE_FILE:
                response[name] = headers[name]
            return response
        try:
            part = ranges.part(_range(request, headers), size=size)
        except ranges.NotInFile:
            return _not_in_file(size)
        headers["Content-Length"] = str(part.length)
        if not part.is_whole:
            last = part.start + part.length - 1
            headers["Content-Range"] = f"bytes {part.start}-{last}/{size}"
            # Else GZipMiddleware would compress it, and the range would be one of other bytes.
            headers["Content-Encoding"] = "identity"
        with told(result):
            file.seek(part.start)
        until_sent.pop_all()  # who sends it closes it
    chunks = AsyncChunks if isinstance(request, ASGIRequest) else Chunks
    return StreamingHttpResponse(
        chunks(file, 0 if request.method == "HEAD" else part.length),
        status=200 if part.is_whole else 206,
        content_type="application/octet-stream",
        headers=headers,
    )


class Chunks:
    """The next ``length`` bytes of a file, in pieces; whoever has enough closes it."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self.file = file
        self.left = length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = self.read()
        if not chunk:
            raise StopIteration
        return chunk

    def read(self) -> bytes:
        """The next piece; empty at the end."""
        chunk = self.file.read(min(CHUNK, self.left)) if self.left else b""
        self.left -= len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file; Django does, at the end or when the client goes away."""
        self.file.close()


class AsyncChunks:
    """The same under ASGI, where Django would else read the whole file into memory."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self.chunks = Chunks(file, length)
        self.read = sync_to_async(self.chunks.read, thread_sensitive=False)
        self.close = self.chunks.close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk: bytes = await self.read()
        if not chunk:
            raise StopAsyncIteration
        return chunk


def _headers(result: ResultFile, size: int) -> dict[str, str]:
    changed = clock.aware(result.finished_at or result.created_at)
    return {
        "ETag": _etag(result, size),
        "Last-Modified": http_date(changed.timestamp()),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache, no-transform",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": str(content_disposition_header(True, _name(result))),
    }


def _range(request: HttpRequest, headers: Mapping[str, str]) -> str:
    """The range that is asked for; empty if it is one of bytes that are not there any more."""
    known = request.headers.get("If-Range", headers["ETag"])
    is_same = known in (headers["ETag"], headers["Last-Modified"])
    return request.headers.get("Range", "") if is_same and request.method == "GET" else ""


def _changed() -> HttpResponse:
    return HttpResponse(
        '{"error": "precondition_failed", "detail": "The file has changed."}',
        status=CHANGED,
        content_type="application/json",
    )


def _not_in_file(size: int) -> HttpResponse:
    # Not by an exception: none of REST framework's carries this header.
    return HttpResponse(
        '{"error": "range_not_satisfiable", "detail": "The file has no such bytes."}',
        status=416,
        content_type="application/json",
        headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
    )


def _etag(result: ResultFile, size: int) -> str:
    """Another one for other bytes: a replay may have fetched the file anew."""
    known: tuple[Any, ...] = (result.pk, result.crc32c, result.generation, result.file.name, size)
    return f'"{sha256(repr(known).encode()).hexdigest()[:32]}"'


def _name(result: ResultFile) -> str:
    """What to call it: not as it is called in the storage."""
    suffix = PurePosixPath(str(result.file.name)).suffix
    return f"result-{result.pk}{suffix if SUFFIX.fullmatch(suffix) else ''}"
