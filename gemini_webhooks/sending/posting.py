"""One POST; redirects are not followed, as Google does not follow them either."""

from __future__ import annotations

import http.client
import json
import math
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.storable import is_storable

CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
TIMEOUT_SECONDS = 30.0
ANSWER_BYTES = 64 * 1024


class Unreachable(GeminiWebhooksError):
    """No HTTP answer came; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP.
        body: parsed, if it is JSON; otherwise its text. Only its beginning if it is long.
        seconds: from the start until all of it was there.
        location: where a redirect leads; empty without one.
        is_page: it is HTML, for a browser.
        diagnosis: what the site noted about refusing it, if this database has that.
    """

    status: int
    body: Any = field(repr=False)
    seconds: float
    location: str = ""
    is_page: bool = False
    diagnosis: str = ""

    @property
    def accepted(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300


def post(url: str, headers: Mapping[str, str], body: bytes, *, hint: str) -> Answer:
    """Post ``body``.

    Args:
        url: absolute, http or https.
        headers: besides those that every request has.
        body: as it is.
        hint: what to do if nothing listens there.

    Raises:
        Unreachable: there was no answer, or the URL or a header cannot be used.
    """
    parts = usable(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection = CONNECTIONS[parts.scheme](parts.netloc, timeout=TIMEOUT_SECONDS)
    begun = time.monotonic()
    try:
        connection.request("POST", target, body=body, headers=dict(headers))
        with _deadline(connection.sock), connection.getresponse() as response:
            content = response.read(ANSWER_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(_why(error, f"{parts.scheme}://{parts.netloc}", hint)) from None
    finally:
        connection.close()
    return Answer(
        status=response.status,
        body=_read(content),
        seconds=time.monotonic() - begun,
        location=response.headers.get("location", ""),
        is_page=response.headers.get_content_type() == "text/html",
    )


def usable(url: str) -> SplitResult:
    """The parts of an address that can be posted to.

    Raises:
        Unreachable: it is none, or holds a password.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in CONNECTIONS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or "@" in parts.netloc or not url.isascii():
        shown = "This" if "@" in url else url  # what comes before it may be a password
        raise Unreachable(f"{shown} is no address to post to, such as https://site.example/hooks/.")
    return parts


@contextmanager
def _deadline(connected: socket.socket) -> Iterator[None]:
    """Break off what takes too long as a whole, whatever comes drop by drop meanwhile.

    Raises:
        TimeoutError: it did.
    """
    is_late = threading.Event()

    def break_off() -> None:
        is_late.set()
        with suppress(OSError):  # it ended just now
            # Not the one of SSLSocket, which would have the reader take ciphertext for the answer.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    timer = threading.Timer(TIMEOUT_SECONDS, break_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if not is_late.is_set():
            raise
    finally:
        timer.cancel()
    if is_late.is_set():
        raise TimeoutError


def _why(error: Exception, where: str, hint: str) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"Nothing answers at {where}: {hint}"
    if isinstance(error, socket.gaierror):
        return f"There is no host for {where}: is it spelled right?"
    if isinstance(error, TimeoutError):
        return f"No answer from {where} within {TIMEOUT_SECONDS:g} s."
    if isinstance(error, ssl.SSLError):
        return f"No TLS with {where}: {error.reason or error}."
    if isinstance(error, ValueError):  # http.client's own check of URL and headers
        return "It cannot be sent: the path or a header holds characters that HTTP does not take."
    return f"{where} broke off: {str(error) or type(error).__name__}."


def _read(content: bytes) -> Any:
    """JSON only as far as everybody can show it: no NaN, no lone surrogate, not too deep."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = math.nan
    return found if is_storable(found) else content.decode(errors="replace")
