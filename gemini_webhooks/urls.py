"""``include("gemini_webhooks.urls")`` under the prefix of your choice."""

from __future__ import annotations

from django.urls import path, re_path

from gemini_webhooks import views

app_name = "gemini_webhooks"

urlpatterns = [
    path("", views.receive, name="receive"),
    # Without the slash as well: a redirect would lose the POST.
    re_path(r"^(?P<slug>[^/]+)/?$", views.receive, name="receive-endpoint"),
]
