"""Ours, and the baselines."""

from __future__ import annotations

from django.urls import include, path

from benchmarks.site import views

urlpatterns = [
    path("ours/", include("gemini_webhooks.urls")),
    path("verify/", views.verify),
    path("v/", views.store),
    path("n/", views.store_and_publish),
    path("n-timed/", views.store_and_time),
]
