"""Middleware that sites have, and that keeps a POST from its view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseForbidden,
    HttpResponsePermanentRedirect,
    HttpResponseRedirect,
)

Answer = Callable[[HttpRequest], HttpResponse]


def login(get_response: Answer) -> Answer:
    def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(f"{settings.LOGIN_URL}?next={request.path}")

    return answer


def slash(get_response: Answer) -> Answer:
    def answer(request: HttpRequest) -> HttpResponse:
        if request.path.endswith("/"):
            return get_response(request)
        return HttpResponsePermanentRedirect(f"{request.path}/")

    return answer


def csrf(get_response: Answer) -> Answer:
    return lambda request: HttpResponseForbidden("CSRF Failed: Origin checking failed")


def firewall(get_response: Answer) -> Answer:
    return lambda request: HttpResponseForbidden("no")


def elsewhere(get_response: Answer) -> Answer:
    return lambda request: HttpResponseRedirect("https://elsewhere.example/maintenance")


def greedy(get_response: Answer) -> Answer:
    def answer(request: HttpRequest) -> HttpResponse:
        request.read()
        return get_response(request)

    return answer


def broken(get_response: Answer) -> Answer:
    def answer(request: HttpRequest) -> HttpResponse:
        raise KeyError("tenant")

    return answer


class AtTheView:
    """Answers as late as middleware can."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse:
        return HttpResponse(status=418)
