"""Pauses: receivers and endpoints whose events are stored, but not processed for a while."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.models.endpoints import WebhookEndpoint
from gemini_webhooks.models.fields import ExactCharField, OptionalExactCharField


class Pause(models.Model):
    """Runs of a receiver, or of an endpoint's deliveries, are held until it is lifted."""

    class Kind(models.TextChoices):
        RECEIVER = "receiver", _("receiver")
        ENDPOINT = "endpoint", _("endpoint")
        ROOT = "root", _("root endpoint")

    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    receiver = ExactCharField(_("receiver"), max_length=255, blank=True)
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="pauses",
        verbose_name=_("endpoint"),
    )
    #: What is paused, while it is or its runs are still being let go: two cannot be at once.
    occupies = OptionalExactCharField(max_length=300, null=True, unique=True, editable=False)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    paused_by = models.CharField(_("paused by"), max_length=255)
    paused_at = models.DateTimeField(_("paused"), default=timezone.now)
    resumed_by = models.CharField(_("resumed by"), max_length=255, blank=True)
    resumed_at = models.DateTimeField(_("resumed"), null=True, blank=True)
    rate = models.PositiveIntegerField(_("runs per minute"), null=True, blank=True)
    released = models.PositiveIntegerField(_("let go"), default=0)
    #: Up to when held runs have been let go, at that rate.
    released_until = models.DateTimeField(null=True, editable=False)
    #: When the last held run was let go.
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("pause")
        verbose_name_plural = _("pauses")
        ordering = ["-paused_at", "-pk"]

    def __str__(self) -> str:
        if self.kind == self.Kind.RECEIVER:
            return self.receiver
        return str(self.endpoint or self.get_kind_display())
