from __future__ import annotations

from django.urls import include, path

from tests import urls

urlpatterns = [
    *urls.urlpatterns,
    path("api/gemini/", include("gemini_webhooks.api.urls")),
]
