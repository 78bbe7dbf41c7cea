"""What the studio adds to each request."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django_htmx.http import HttpResponseClientRefresh


def whole_page_to_log_in(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """A part of a page must not be replaced by the login page when a session has ended."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        to = urlsplit(response.headers.get("Location", "")).path
        if request.headers.get("HX-Request") and to == resolve_url(settings.LOGIN_URL):
            return HttpResponseClientRefresh()
        return response

    return answer
