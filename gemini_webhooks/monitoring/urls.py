"""``include("gemini_webhooks.monitoring.urls")`` where load balancers and monitors look."""

from __future__ import annotations

from django.urls import path

from gemini_webhooks.monitoring import views

app_name = "gemini_webhooks_monitoring"

urlpatterns = [
    path("health/", views.health, name="health"),
    path("backlog/", views.backlog, name="backlog"),
    # Without the slash as well: hardly any load balancer follows a redirect.
    path("health", views.health),
    path("backlog", views.backlog),
]
