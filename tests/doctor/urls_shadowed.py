from __future__ import annotations

from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("webhooks/<path:rest>", lambda request, rest: HttpResponse("a page")),
    path("webhooks/gemini/", include("gemini_webhooks.urls")),
]
