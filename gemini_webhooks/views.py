"""The view: a POST in, a status code out, nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.decorators.cache import never_cache
from django.views.decorators.common import no_append_slash
from django.views.decorators.csrf import csrf_exempt

from gemini_webhooks import ingest, logs, observe
from gemini_webhooks.conf import settings
from gemini_webhooks.exceptions import Malformed, Rejected, TooLarge, Undecided
from gemini_webhooks.verification import IncomingRequest

logger = logs.get_logger(__name__)


@csrf_exempt
@login_not_required
@no_append_slash
@never_cache
@observe.request
def receive(request: HttpRequest, slug: str | None = None) -> HttpResponse:
    """Answer a delivery: 200 once it is stored, else why not, as a code."""
    if request.method != "POST":
        return JsonResponse({"error": "method_not_allowed"}, status=405, headers={"Allow": "POST"})
    try:
        receipt = ingest.receive(_incoming(request, slug), slug)
    except Rejected as rejected:
        return JsonResponse({"error": rejected.code}, status=rejected.status)
    except Undecided as undecided:
        logger.error("webhook not decided: %s", undecided)  # noqa: TRY400  # the cause is no bug
        retry = {"Retry-After": str(undecided.retry_after)}
        return JsonResponse({"error": undecided.code}, status=undecided.status, headers=retry)
    return JsonResponse({"status": receipt.status})


# With ATOMIC_REQUESTS on any alias, 200 would be sent before the commit.
for _alias in connections:
    receive = transaction.non_atomic_requests(using=_alias)(receive)


def _incoming(request: HttpRequest, slug: str | None) -> IncomingRequest:
    headers = {name.lower(): value for name, value in request.headers.items()}
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
    source = _source(request)
    body = bytearray()
    try:
        while chunk := source.read(limit + 1 - len(body)):
            body += chunk
            if len(body) > limit:
                raise too_large
    except UnreadablePostError:
        raise Malformed("body_unreadable", "the sender went away while it sent the body") from None
    if not body and declared.strip("0"):
        raise Undecided("body_consumed", "a middleware of this site read the body first")
    return bytes(body)
