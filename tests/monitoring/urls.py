from __future__ import annotations

from django.urls import include, path

from tests.urls import urlpatterns as site

urlpatterns = [
    *site,
    path("", include("gemini_webhooks.monitoring.urls")),
    path("", include("gemini_webhooks.monitoring.metrics_urls")),
]
