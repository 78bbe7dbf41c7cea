"""The addresses of the benchmarks' site."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("webhooks/gemini/", include("gemini_webhooks.urls"))]
