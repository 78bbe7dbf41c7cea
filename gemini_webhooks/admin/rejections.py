"""Requests that were refused, and why."""

# ruff: noqa: D102  # a column says in its description what it shows

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.admin.base import EMPTY, LongList, ModelAdmin, excerpt
from gemini_webhooks.admin.rendering import json_block
from gemini_webhooks.models import RejectedRequest


@admin.register(RejectedRequest)
class RejectionAdmin(LongList):
    """The only rows that may be deleted here: nothing refers to them."""

    list_display = (
        "reason",
        "diagnosis_excerpt",
        "status",
        "endpoint",
        "received_at",
        "readable_size",
        "suppressed",
    )
    list_filter = ("reason", "status", "received_at")
    deferred = ("headers",)
    sortable_by = ("reason", "received_at")
    goes_on_by = ("received_at", "received_at__lte")
    search_fields = ("endpoint_slug__startswith", "body_digest__startswith", "diagnosis")
    search_help_text = _(
        "A part of the diagnosis, or the beginning of an endpoint’s slug or a body’s SHA-256."
    )
    fieldsets = (
        (None, {"fields": ("diagnosis", "reason", "status", "received_at", "suppressed")}),
        (_("The request"), {"fields": ("endpoint", "readable_size", "body_digest")}),
        (_("Headers"), {"fields": ("readable_headers",), "classes": ("gw-wide",)}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return ModelAdmin.has_delete_permission(self, request, obj)

    @admin.display(description=_("diagnosis"))
    def diagnosis_excerpt(self, rejection: RejectedRequest) -> str:
        return excerpt(rejection.diagnosis)

    @admin.display(description=_("endpoint"), ordering="endpoint_slug")
    def endpoint(self, rejection: RejectedRequest) -> str:
        return rejection.endpoint_slug or EMPTY

    @admin.display(description=_("size"), ordering="body_size")
    def readable_size(self, rejection: RejectedRequest) -> str:
        return filesizeformat(rejection.body_size)

    @admin.display(description=_("headers"))
    def readable_headers(self, rejection: RejectedRequest) -> SafeString:
        return json_block(rejection.headers, label=_("Headers"), empty=_("None were recorded."))
