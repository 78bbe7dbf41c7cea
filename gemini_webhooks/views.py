"""The view: a POST in, a status code out, nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.views.decorators.common import no_append_slash
from django.views.decorators.csrf import csrf_exempt

from gemini_webhooks import ingest, logs, observe
from gemini_webhooks.conf import settings
from gemini_webhooks.exceptions import Malformed, Rejected, TooLarge, Undecided
from gemini_webhooks.verification import READ_HEADERS, IncomingRequest

logger = logs.get_logger(__name__)

#: Where WSGI and ASGI have the headers that are read: all others would be read for nothing.
META_KEYS = {
    name: key if key.startswith("CONTENT_") else f"HTTP_{key}"
    for name in READ_HEADERS
    for key in [name.upper().replace("-", "_")]
}
#: As ``never_cache`` has it, without the dates, which only HTTP/1.0 knows.
CACHE_CONTROL = "max-age=0, no-cache, no-store, must-revalidate, private"


@csrf_exempt
@login_not_required
@no_append_slash
@observe.request
def receive(request: HttpRequest, slug: str | None = None) -> HttpResponse:
    """Answer a delivery: 200 once it is stored, else why not, as a code."""
    if request.method != "POST":
        return _answer({"error": "method_not_allowed"}, 405, Allow="POST")
    try:
        receipt = ingest.receive(_incoming(request, slug), slug)
    except Rejected as rejected:
        return _answer({"error": rejected.code}, rejected.status)
    except Undecided as undecided:
        logger.error("webhook not decided: %s", undecided)  # noqa: TRY400  # the cause is no bug
        retry = {"Retry-After": str(undecided.retry_after)}
        return _answer({"error": undecided.code}, undecided.status, **retry)
    return _answer({"status": receipt.status})


# With ATOMIC_REQUESTS on any alias, 200 would be sent before the commit.
for _alias in connections:
    receive = transaction.non_atomic_requests(using=_alias)(receive)


def _answer(content: Mapping[str, str], status: int = 200, **headers: str) -> HttpResponse:
    return HttpResponse(
        json.dumps(content),
        status=status,
        headers={"Content-Type": "application/json", "Cache-Control": CACHE_CONTROL, **headers},
    )


def _incoming(request: HttpRequest, slug: str | None) -> IncomingRequest:
    meta = request.META
    headers = {name: meta[key] for name, key in META_KEYS.items() if key in meta}
    received_at = datetime.now(UTC)
    try:
        body = _body(request)
    except (Rejected, Undecided) as refusal:
        unread = IncomingRequest(headers=headers, body=b"", received_at=received_at)
        ingest.refuse(unread, slug, refusal)
        raise
    return IncomingRequest(headers=headers, body=body, received_at=received_at)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _source(request: HttpRequest) -> _Readable:
    """Where to read the body from.

    Under WSGI Django reads as much as ``Content-Length`` says, which is nothing for a chunked
    body. Servers that end such a body themselves say so, and may be read directly.
    """
    has_length = bool(request.META.get("CONTENT_LENGTH"))
    if not has_length and request.META.get("wsgi.input_terminated"):
        stream: _Readable = request.META["wsgi.input"]
        return stream
    return request


def _body(request: HttpRequest) -> bytes:
    """Read the raw body, never more than one byte over the limit."""
    limit = settings.MAX_BODY_BYTES
    too_large = TooLarge("body_too_large", f"the body is larger than MAX_BODY_BYTES ({limit})")
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise too_large
    body = _read(_source(request), limit + 1)
    if len(body) > limit:
        raise too_large
    if not body and declared.strip("0"):
        raise Undecided("body_consumed", "a middleware of this site read the body first")
    return body


def _read(source: _Readable, size: int) -> bytes:
    body = bytearray()
    try:
        while len(body) < size and (chunk := source.read(size - len(body))):
            body += chunk
    except UnreadablePostError:
        raise Malformed("body_unreadable", "the sender went away while it sent the body") from None
    return bytes(body)
