"""``include("gemini_webhooks.urls")`` under the prefix of your choice."""

from __future__ import annotations

from django.urls import path

from gemini_webhooks import views

app_name = "gemini_webhooks"

urlpatterns = [
    path("", views.receive, name="receive"),
    path("<str:slug>/", views.receive, name="receive-endpoint"),
    # Without the slash as well: a redirect would lose the POST.
    path("<str:slug>", views.receive),
]
