"""Registered webhook endpoints and their signing secrets."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class WebhookEndpoint(models.Model):
    """One address at which Google delivers, with its own secrets, audiences and API key."""

    class State(models.TextChoices):
        ENABLED = "enabled", _("enabled")
        DISABLED = "disabled", _("disabled")
        DISABLED_BY_GOOGLE = (
            "disabled_due_to_failed_deliveries",
            _("disabled by Google after failed deliveries"),
        )

    slug = models.SlugField(
        _("slug"), max_length=100, unique=True, help_text=_("The last part of the address.")
    )
    name = models.CharField(_("name"), max_length=200, blank=True)
    uri = models.URLField(_("URI"), max_length=500, blank=True)
    remote_id = models.CharField(_("id at Google"), max_length=255, blank=True, db_index=True)
    subscribed_events = models.JSONField(_("subscribed events"), default=list, blank=True)
    state = models.CharField(_("state"), max_length=50, choices=State, default=State.ENABLED)
    audiences = models.JSONField(
        _("audiences"),
        default=list,
        blank=True,
        help_text=_("Accepted “aud” values. Empty: dynamic webhooks are refused here."),
    )
    state_changed_at = models.DateTimeField(_("state since"), null=True, blank=True, editable=False)
    api_key_name = models.CharField(_("API key"), max_length=100, default="default")
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    last_synced_at = models.DateTimeField(_("last synced"), null=True, blank=True)
    last_delivery_at = models.DateTimeField(_("last delivery"), null=True, blank=True)

    class Meta:
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name or self.slug


class SigningSecret(models.Model):
    """A shared secret of an endpoint, encrypted; ``ciphers`` opens it."""

    endpoint = models.ForeignKey(
        WebhookEndpoint,
        on_delete=models.CASCADE,
        related_name="signing_secrets",
        verbose_name=_("endpoint"),
    )
    ciphertext = models.TextField(_("encrypted value"), editable=False)
    hint = models.CharField(_("hint"), max_length=40)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    revealed_at = models.DateTimeField(_("shown"), null=True, blank=True, editable=False)
    #: The default of the database is for processes of the version before, during an upgrade.
    revealed_by = models.CharField(
        _("shown to"), max_length=254, blank=True, default="", db_default="", editable=False
    )

    class Meta:
        permissions = [("reveal_signingsecret", _("Can see a signing secret, once"))]
        verbose_name = _("signing secret")
        verbose_name_plural = _("signing secrets")
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return self.hint
