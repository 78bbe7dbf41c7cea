"""What caches may do with answers: nothing, unless one says otherwise."""

from __future__ import annotations

from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers


def private(response: HttpResponseBase) -> HttpResponseBase:
    """Keep caches from giving one user's answer to another."""
    response.headers.setdefault("Cache-Control", "private, no-store")
    patch_vary_headers(response, ("Authorization", "Cookie"))
    return response
