"""Registered endpoints and what may be known about their signing secrets."""

# ruff: noqa: D101, D102  # a column says in its description what it shows

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import EMPTY, ReadOnlyAdmin, ReadOnlyInline, RelatedRows
from gemini_webhooks.admin.filters import EndpointFilter
from gemini_webhooks.admin.rendering import json_block
from gemini_webhooks.models import SigningSecret, WebhookEndpoint


class SecretsOfEndpoint(RelatedRows):
    empty_text = _("It has no secret, so no static webhook is accepted here.")


class SigningSecretInline(ReadOnlyInline):
    """Everything but the secret itself, which is not even read from the database."""

    model = SigningSecret
    formset = SecretsOfEndpoint
    deferred = ("ciphertext",)
    fields = ("hint", "validity", "created_at", "expires_at", "revoked_at", "last_used_at")

    @admin.display(description=_("validity"))
    def validity(self, secret: SigningSecret) -> SafeString:
        if secret.revoked_at:
            return badge("revoked", _("revoked"))
        if secret.expires_at is None:
            return badge("valid", _("valid"))
        if secret.expires_at > clock.now():
            return badge("expiring", _("valid until it expires"))
        return badge("expired", _("expired"))


@admin.register(WebhookEndpoint)
class EndpointAdmin(ReadOnlyAdmin):
    """Endpoints are made and changed at Google too, so not by a form on this table alone."""

    list_display = (
        "slug",
        "name",
        "state_badge",
        "remote_id",
        "last_delivery_at",
        "last_synced_at",
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

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, endpoint: WebhookEndpoint) -> SafeString:
        return badge(endpoint.state, endpoint.get_state_display())

    @admin.display(description=_("URI"))
    def address(self, endpoint: WebhookEndpoint) -> str:
        return endpoint.uri or EMPTY

    @admin.display(description=_("subscribed events"))
    def events(self, endpoint: WebhookEndpoint) -> SafeString:
        return json_block(
            endpoint.subscribed_events, label=_("Subscribed events"), empty=_("None.")
        )

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
