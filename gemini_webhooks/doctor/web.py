"""Plain HTTP questions, bounded, and what goes wrong with them in words."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

MAX_ANSWER_BYTES = 1024 * 1024
USER_AGENT = "gemini-webhooks-doctor"


class NoAnswer(Exception):
    """No HTTP answer came.

    Args:
        message: why.
        hint: what to do.
        is_certificate: it is TLS that failed, which no network in between explains.
    """

    def __init__(self, message: str, hint: str, *, is_certificate: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.is_certificate = is_certificate


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer.

    Attributes:
        status: HTTP status.
        location: where it redirects to, or empty.
        date: the header ``Date``, or empty.
        body: as sent.
        error: class of the exception behind a 500, if that is known.
        middleware: dotted path of the middleware that answered, if that is known.
        ngrok_error: the code of an error that is ngrok's own, or empty.
    """

    status: int
    location: str = ""
    date: str = ""
    body: bytes = field(default=b"", repr=False)
    error: str = ""
    middleware: str = ""
    ngrok_error: str = ""

    @property
    def is_page(self) -> bool:
        """Whether it is a web page, which the view never answers with."""
        return self.body.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Make every redirect an answer."""


_opener = build_opener(_NoRedirects)


def get(url: str, *, timeout: float) -> Answer:
    """GET ``url``, following no redirect.

    Args:
        url: absolute, http or https.
        timeout: seconds for all of it.

    Raises:
        NoAnswer: none came.
    """
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    deadline = time.monotonic() + timeout
    try:
        request = Request(url, headers=headers)  # noqa: S310  # from the settings or our own table
        try:
            response = _opener.open(request, timeout=timeout)
        except HTTPError as refused:
            response = refused
        with response:
            return Answer(
                status=response.status,
                location=response.headers.get("Location", ""),
                date=response.headers.get("Date", ""),
                ngrok_error=response.headers.get("ngrok-error-code", ""),
                body=_read(response, deadline),
            )
    except URLError as error:
        reason = error.reason
        raise _no_answer(reason if isinstance(reason, Exception) else error) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _no_answer(error) from None


def _read(response: IO[bytes], deadline: float) -> bytes:
    body = b""
    while chunk := response.read1(64 * 1024):  # type: ignore[attr-defined]  # both kinds have it
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")
        if time.monotonic() > deadline:
            raise TimeoutError
    return body


def _no_answer(error: Exception) -> NoAnswer:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoAnswer(
            f"its certificate is not valid: {error.verify_message}",
            "Install a certificate of a public authority for this host, with the intermediate "
            "certificates, and renew it before it expires: Google delivers to no other.",
            is_certificate=True,
        )
    if isinstance(error, ssl.SSLError):
        return NoAnswer(
            f"TLS failed ({error.reason or type(error).__name__})",
            "The port must speak TLS 1.2 or later; is it plain http there?",
            is_certificate=True,
        )
    if isinstance(error, socket.gaierror):
        return NoAnswer(
            "its name cannot be resolved",
            "Make a public DNS record, or correct the host name; that of a tunnel may end with it.",
        )
    if isinstance(error, ConnectionRefusedError):
        return NoAnswer(
            "the connection was refused", "Start the web server, or open the port in the firewall."
        )
    if isinstance(error, TimeoutError):
        return NoAnswer(
            "there was no answer in time", "Does a firewall drop the packets, or the server hang?"
        )
    return NoAnswer(
        f"there was no usable answer ({type(error).__name__})",
        "Look into the log of the web server or proxy.",
    )
