"""The table of an endpoint's signing secrets: all that may be known about them."""

# ruff: noqa: D101, D102  # Django names hooks; a column says in its description what it is

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.db.models import BooleanField, OuterRef, QuerySet, Subquery, Value
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock, endpoints
from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import EMPTY, ReadOnlyInline, RelatedRows
from gemini_webhooks.models import SigningSecret

MAY_REVEAL = "gemini_webhooks.reveal_signingsecret"


class SecretsOfEndpoint(RelatedRows):
    empty_text = _(
        "It has no secret, so no static webhook is accepted here. Rotate to get one from Google."
    )


class SigningSecretInline(ReadOnlyInline):
    """Everything but the secret itself, which is not even read from the database.

    Attributes:
        unreadable: ids of valid secrets that no key opens; the page knows them.
    """

    model = SigningSecret
    formset = SecretsOfEndpoint
    unreadable: frozenset[int] = frozenset()
    deferred = ("ciphertext",)
    fields = (
        "hint",
        "validity",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
        "shown",
        "still_needed",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        siblings = endpoints.valid_now(SigningSecret.objects.all())
        newest = siblings.filter(endpoint=OuterRef("endpoint")).order_by("-created_at", "-pk")
        may_revoke = request.user.has_perm("gemini_webhooks.change_webhookendpoint")
        added = {
            "newest_id": Subquery(newest.values("pk")[:1]),
            "newest_made": Subquery(newest.values("created_at")[:1]),
            "newest_used": Subquery(newest.values("last_used_at")[:1]),
            "may_reveal": Value(request.user.has_perm(MAY_REVEAL), BooleanField()),
            "may_revoke": Value(may_revoke, BooleanField()),
        }
        secrets: QuerySet[Any] = super().get_queryset(request).annotate(**added)
        return secrets

    @admin.display(description=_("validity"))
    def validity(self, secret: SigningSecret) -> SafeString:
        if secret.pk in self.unreadable:
            return badge("lost", _("cannot be read"))
        if secret.revoked_at:
            return badge("revoked", _("revoked"))
        if secret.expires_at is None:
            return badge("valid", _("valid"))
        if secret.expires_at > clock.now():
            return badge("expiring", _("valid until it expires"))
        return badge("expired", _("expired"))

    @admin.display(description=_("shown to anybody?"))
    def shown(self, secret: Any) -> SafeString | str | Promise:
        if secret.revealed_at:
            when = display_for_value(secret.revealed_at, EMPTY)
            who = secret.revealed_by or EMPTY
            return format_html(gettext("To {who}, {when}"), who=who, when=when)
        if _has_ended(secret) or secret.pk in self.unreadable or not secret.may_reveal:
            return _("No")
        return format_html(
            '{} <a href="{}">{}</a>', _("No."), self._url("reveal", secret), _("Show")
        )

    @admin.display(description=_("still needed?"))
    def still_needed(self, secret: Any) -> SafeString | str | Promise:
        """Told from the columns that ``get_queryset`` adds."""
        if _has_ended(secret):
            return EMPTY
        if not secret.may_revoke:
            return _need_of(secret)
        url = self._url("revoke", secret)
        return format_html('{} <a href="{}">{}</a>', _need_of(secret), url, _("Revoke"))

    def _url(self, name: str, secret: SigningSecret) -> str:
        return reverse(
            f"admin:gemini_webhooks_webhookendpoint_{name}",
            args=[secret.endpoint_id, secret.pk],
            current_app=self.admin_site.name,
        )


def _has_ended(secret: SigningSecret) -> bool:
    expired = secret.expires_at is not None and secret.expires_at <= clock.now()
    return expired or secret.revoked_at is not None


def _need_of(secret: Any) -> Promise:
    if secret.pk == secret.newest_id:
        return _("Yes, it is the newest.")
    if secret.last_used_at and secret.last_used_at >= secret.newest_made:
        return _("Yes: it was used after the newest one was made.")
    if secret.newest_used is None:
        return _(
            "Not known: no delivery that the newest one signed was processed yet. Send a ping."
        )
    return _("Safe to let go: the newest one is in use, and this one was not used since.")
