"""Whether a POST gets through the site's middleware to the webhook view.

The request goes through the site's own handler in this process and stops at the view's door: the
view itself would record it as refused.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from wsgiref.util import setup_testing_defaults

from django.conf import settings as django_settings
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse

from gemini_webhooks.doctor.answers import Explanation, explain, is_ssl_redirect
from gemini_webhooks.doctor.findings import Finding, failure, ok, skipped, warning
from gemini_webhooks.doctor.site import NOTHING_OPEN, Address, Site, in_urlconf
from gemini_webhooks.doctor.urls import VIEW, view_name
from gemini_webhooks.doctor.web import USER_AGENT, Answer

BODY = b'{"type": "doctor"}'


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A request at the view's door.

    Attributes:
        slug: of the endpoint that it is for; empty for the root address.
        is_ours: it is the webhook view's door.
        is_whole: the view could read the body as it was sent.
    """

    slug: str
    is_ours: bool
    is_whole: bool


class Door(BaseHandler):
    """The site's handler, with all of its middleware, but every view replaced by a note."""

    def __init__(self) -> None:
        self.arrival: Arrival | None = None
        self.load_middleware()

    def make_view_atomic(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Called by Django with the view, after all middleware has had the request."""
        del view

        def note(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            match = request.resolver_match
            self.arrival = Arrival(
                slug=kwargs.get("slug") or "",
                is_ours=match is not None and view_name(match) == VIEW,
                is_whole=request.read() == BODY,
            )
            return HttpResponse(status=204)

        return note


def arrives(site: Site) -> Iterator[Finding]:
    """A POST to each address, with and without its last slash, reaches the view."""
    addresses = site.addresses()
    if not addresses:
        yield skipped("inside", NOTHING_OPEN)
    for address in addresses:
        name = f"inside, {address.label}"
        with_slash = _problem(name, address, address.path)
        without = with_slash or _problem(name, address, address.path.rstrip("/"))
        yield with_slash or without or ok(name, f"A POST to {address.path} reaches the view.")


def _problem(name: str, address: Address, path: str) -> Finding | None:
    url = urlsplit(address.url)._replace(path=path or "/", query="").geturl()
    shown = path or "/"
    arrival, answer = _try(url, _as_a_proxy_would_say(url))
    if arrival is None and is_ssl_redirect(answer, url) and url.startswith("https:"):
        on_https, _ = _try(url, {"wsgi.url_scheme": "https"})
        if on_https is not None and not django_settings.SECURE_PROXY_SSL_HEADER:
            return _unsure_of_https(name, shown, explain(answer, url))
    if arrival is None:
        if answer.status == 404 and not address.slug and not path.endswith("/"):
            return None  # the root address has its slash; nothing else is promised
        why = explain(replace(answer, middleware=_culprit(url)), url)
        return failure(name, f"A POST to {shown} does not reach the view: {why.message}.", why.hint)
    if not arrival.is_ours or arrival.slug != address.slug:
        return failure(
            name,
            f"A POST to {shown}, where Google delivers, reaches another view or endpoint.",
            f"Register the address that the URLconf has: `manage.py gemini_webhooks update "
            f"{address.slug or 'SLUG'} --uri …`, or correct the URLconf.",
        )
    if not arrival.is_whole:
        return failure(
            name,
            f"A POST to {shown} reaches the view without its body: a middleware read it first.",
            f"Have the middleware leave the body of {shown} alone; the signature covers its bytes.",
        )
    return None


def _unsure_of_https(name: str, path: str, why: Explanation) -> Finding:
    return warning(
        name,
        f"A POST to {path} reaches the view if the web server itself marks it as https; if not, "
        f"{why.message}.",
        why.hint,
    )


def _as_a_proxy_would_say(url: str) -> dict[str, str]:
    """How a request to ``url`` looks once a proxy has taken the TLS off."""
    header = django_settings.SECURE_PROXY_SSL_HEADER
    if header and url.startswith("https:"):
        return {str(header[0]): str(header[1])}
    return {}


def _try(url: str, said: dict[str, str]) -> tuple[Arrival | None, Answer]:
    """POST to ``url`` in this process."""
    errors: list[str] = []

    def note_error(**_: object) -> None:
        errors.append(type(sys.exc_info()[1]).__name__)

        errors.append(type(sys.exc_info()[1]).__name__)

    got_request_exception.connect(note_error)
    try:
        with _quiet():
            door = Door()
            # Not closed: that would announce the end of a request, and end database connections.
            response = door.get_response(WSGIRequest(_environ(url, said)))
    except Exception as error:  # noqa: BLE001  # middleware is the site's code
        return None, Answer(status=500, error=type(error).__name__)
    finally:
        got_request_exception.disconnect(note_error)
    return door.arrival, Answer(
        status=response.status_code,
        location=response.get("Location", ""),
        body=getattr(response, "content", b""),  # a stream has none
        error=errors[0] if errors else "",
    )


def _environ(url: str, said: dict[str, str]) -> dict[str, Any]:
    parts = urlsplit(url)
    path = unquote_to_bytes(in_urlconf(parts.path)).decode("latin-1")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "HTTP_HOST": parts.netloc,
        "HTTP_USER_AGENT": USER_AGENT,
        "HTTP_ACCEPT": "application/json",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(BODY)),
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": io.BytesIO(BODY),
        "wsgi.url_scheme": "http",
        **said,
    }
    setup_testing_defaults(environ)
    return environ


def _culprit(url: str) -> str:
    """The first middleware with which a request does not arrive, by adding one after the other."""
    every = list(django_settings.MIDDLEWARE)
    for count in range(len(every) + 1):
        with _only(every[:count], every):
            arrival, _ = _try(url, _as_a_proxy_would_say(url))
        if arrival is None:
            return every[count - 1] if count else ""
    return ""


@contextmanager
def _only(some: list[str], every: list[str]) -> Iterator[None]:
    # Handlers read the setting when they are made, and nothing else makes one in a command.
    django_settings.MIDDLEWARE = some
    try:
        yield
    finally:
        django_settings.MIDDLEWARE = every


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what these requests log from the terminal, and from those who are mailed errors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
