from __future__ import annotations

from django.urls import include, path

from gemini_webhooks.views import receive

urlpatterns = [
    path("webhooks/gemini", receive),
    path("webhooks/gemini/", include("gemini_webhooks.urls")),
]
