"""Registered endpoints and what may be known about their signing secrets."""

# ruff: noqa: ARG002, D101, D102  # Django names hooks; a column says in its description what it is

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import EMPTY, ReadOnlyInline, RelatedRows
from gemini_webhooks.admin.endpoint_actions import EndpointActions
from gemini_webhooks.admin.events import described, names_in
from gemini_webhooks.admin.filters import EndpointFilter
from gemini_webhooks.admin.rendering import json_block
from gemini_webhooks.admin.rotation import RotationPages
from gemini_webhooks.models import SigningSecret, WebhookEndpoint


class SecretsOfEndpoint(RelatedRows):
    empty_text = _(
        "It has no secret, so no static webhook is accepted here. Rotate to get one from Google."
    )


class SigningSecretInline(ReadOnlyInline):
    """Everything but the secret itself, which is not even read from the database."""

    model = SigningSecret
    formset = SecretsOfEndpoint
    deferred = ("ciphertext",)
    fields = (
        "hint",
        "validity",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
        "still_needed",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        valid = Q(expires_at=None) | Q(expires_at__gt=clock.now())
        siblings = SigningSecret.objects.filter(valid, revoked_at=None)
        newest = siblings.filter(endpoint=OuterRef("endpoint")).order_by("-created_at", "-pk")
        added = {
            "newest_id": Subquery(newest.values("pk")[:1]),
            "newest_made": Subquery(newest.values("created_at")[:1]),
            "newest_used": Subquery(newest.values("last_used_at")[:1]),
        }
        secrets: QuerySet[Any] = super().get_queryset(request).annotate(**added)
        return secrets

    @admin.display(description=_("validity"))
    def validity(self, secret: SigningSecret) -> SafeString:
        if secret.revoked_at:
            return badge("revoked", _("revoked"))
        if secret.expires_at is None:
            return badge("valid", _("valid"))
        if secret.expires_at > clock.now():
            return badge("expiring", _("valid until it expires"))
        return badge("expired", _("expired"))

    @admin.display(description=_("still needed?"))
    def still_needed(self, secret: Any) -> str | Promise:
        """Told from the columns that ``get_queryset`` adds."""
        ended = secret.expires_at is not None and secret.expires_at <= clock.now()
        if secret.revoked_at or ended:
            return EMPTY
        if secret.pk == secret.newest_id:
            return _("Yes, it is the newest.")
        if secret.last_used_at and secret.last_used_at >= secret.newest_made:
            return _("Yes: it was used after the newest one was made.")
        if secret.newest_used is None:
            return _("Not known: the newest one was not used yet. Send a ping.")
        return _("Safe to let go: the newest one is in use, and this one was not used since.")


@admin.register(WebhookEndpoint)
class EndpointAdmin(EndpointActions, RotationPages):
    """The list and the page of an endpoint, with buttons for what can be done to it.

    Endpoints are made and changed at Google too, so never by the admin's own form, which would
    change this table alone.
    """

    change_form_template = "admin/gemini_webhooks/webhookendpoint/change_form.html"
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

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Past ReadOnlyAdmin, to Django's own answer.
        return ModelAdmin.has_add_permission(self, request)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        may = {
            "may_change": self.may(request, "change"),
            "may_delete": self.may(request, "delete"),
            "may_see_deliveries": request.user.has_perm("gemini_webhooks.view_webhookdelivery"),
            "State": WebhookEndpoint.State,
        }
        return super().change_view(request, object_id, form_url, {**may, **(extra_context or {})})

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, endpoint: WebhookEndpoint) -> SafeString:
        return badge(endpoint.state, endpoint.get_state_display())

    @admin.display(description=_("URI"))
    def address(self, endpoint: WebhookEndpoint) -> str:
        return endpoint.uri or EMPTY

    @admin.display(description=_("subscribed events"))
    def events(self, endpoint: WebhookEndpoint) -> SafeString:
        lines = format_html_join(
            "", "<li>{}</li>", ((described(name),) for name in names_in(endpoint.subscribed_events))
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
