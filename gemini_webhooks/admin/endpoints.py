"""Registered endpoints: their list and their pages."""

# ruff: noqa: ARG002, D102  # Django names hooks; a column says in its description what it is

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import EMPTY
from gemini_webhooks.admin.endpoint_actions import EndpointActions
from gemini_webhooks.admin.events import described
from gemini_webhooks.admin.filters import EndpointFilter
from gemini_webhooks.admin.pause_notice import PauseNotice
from gemini_webhooks.admin.rendering import json_block
from gemini_webhooks.admin.rotation import RotationPages
from gemini_webhooks.admin.secret_pages import SecretPages
from gemini_webhooks.admin.secrets import SigningSecretInline
from gemini_webhooks.admin.syncing import SyncPages
from gemini_webhooks.models import WebhookEndpoint
from gemini_webhooks.storable import strings_in


@admin.register(WebhookEndpoint)
class EndpointAdmin(EndpointActions, RotationPages, SecretPages, SyncPages, PauseNotice):
    """The list and the page of an endpoint, with buttons for what can be done to it.

    Endpoints are made and changed at Google too, so never by the admin's own form, which would
    change this table alone.
    """

    change_form_template = "admin/gemini_webhooks/webhookendpoint/change_form.html"
    list_display = (
        "slug",
        "name",
        "state_badge",
        "last_delivery_at",
        "last_synced_at",
        "remote_id",
    )
    list_filter = ("state",)
    search_fields = ("slug", "name", "remote_id__startswith", "uri")
    search_help_text = _("A part of a slug, name or URI, or the beginning of an id at Google.")
    inlines = (SigningSecretInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "slug",
                    "name",
                    "state_badge",
                    "created_at",
                    "last_delivery_at",
                    "deliveries",
                )
            },
        ),
        (
            _("At Google"),
            {"fields": ("address", "remote_id", "events", "api_key_name", "last_synced_at")},
        ),
        (_("Dynamic webhooks"), {"fields": ("accepted_audiences",)}),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Past ReadOnlyAdmin, to Django's own answer.
        return ModelAdmin.has_add_permission(self, request)

    def add_to_page(self, request: HttpRequest, context: dict[str, Any], row: Any) -> None:
        super().add_to_page(request, context, row)
        context |= {
            "may_change": self.may(request, "change"),
            "may_delete": self.may(request, "delete"),
            "may_see_deliveries": request.user.has_perm("gemini_webhooks.view_webhookdelivery"),
            "State": WebhookEndpoint.State,
        }

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, endpoint: WebhookEndpoint) -> SafeString:
        return badge(endpoint.state, endpoint.get_state_display())

    @admin.display(description=_("URI"))
    def address(self, endpoint: WebhookEndpoint) -> str:
        return endpoint.uri or EMPTY

    @admin.display(description=_("subscribed events"))
    def events(self, endpoint: WebhookEndpoint) -> SafeString:
        lines = format_html_join(
            "",
            "<li>{}</li>",
            ((described(name),) for name in strings_in(endpoint.subscribed_events)),
        )
        if not lines:
            return format_html('<span class="gw-note">{}</span>', _("None."))
        return format_html('<ul class="gw-events">{}</ul>', lines)

    @admin.display(description=_("accepted audiences"))
    def accepted_audiences(self, endpoint: WebhookEndpoint) -> SafeString:
        return json_block(
            endpoint.audiences,
            label=_("Accepted audiences"),
            empty=_("None: dynamic webhooks are refused here."),
        )

    @admin.display(description=_("deliveries"))
    def deliveries(self, endpoint: WebhookEndpoint) -> SafeString:
        url = reverse(
            "admin:gemini_webhooks_webhookdelivery_changelist", current_app=self.admin_site.name
        )
        return format_html(
            '<a href="{}?{}={}">{}</a>',
            url,
            EndpointFilter.parameter_name,
            endpoint.pk,
            _("Show what came in here"),
        )
