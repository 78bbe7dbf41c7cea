"""``include("gemini_webhooks.monitoring.metrics_urls")`` where Prometheus alone can look."""

from __future__ import annotations

from django.urls import path

from gemini_webhooks.monitoring import views

app_name = "gemini_webhooks_metrics"

urlpatterns = [
    path("metrics", views.metrics, name="metrics"),
    path("metrics/", views.metrics),
]
