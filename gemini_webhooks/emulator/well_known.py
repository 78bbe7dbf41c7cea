"""The keys that verify the tokens of dynamic webhooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from django.http import HttpResponse, StreamingHttpResponse

from gemini_webhooks.emulator.dispatch import Answer, Call, view
from gemini_webhooks.emulator.errors import ApiError

HANG_SECONDS = 60
#: A proxy's error page, as one may get it with status 200.
GARBAGE = b"<!doctype html><title>Error</title>"


def keys(call: Call) -> Answer:
    """The JSON Web Key Set; a failure instead if it is its turn."""
    switches = call.emulator.switches
    if not switches.is_hit("jwks_outage"):
        return call.emulator.signer.jwks()
    match switches.now.jwks_outage_kind:
        case "503":
            raise ApiError(503, "Fails on request.", {"Retry-After": "1"})
        case "garbage":
            return HttpResponse(GARBAGE, content_type="application/json")
        case "hang":
            # Streamed, as no other request may wait for it; not a byte of it is ever sent.
            silence = StreamingHttpResponse(_silence(call.emulator.closing))
            silence["Content-Length"] = "1000"
            return silence


def _silence(closing: threading.Event) -> Iterator[bytes]:
    yield b""
    closing.wait(HANG_SECONDS)
    raise ConnectionAbortedError("silent on purpose")


jwks = view(public=True, GET=keys)
