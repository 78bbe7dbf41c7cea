"""Requests that were refused."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class RejectedRequest(models.Model):
    """One refused request, without anything secret: no body, no signature, no cookies."""

    reason = models.CharField(_("reason"), max_length=60)
    status = models.PositiveSmallIntegerField(_("HTTP status"))
    diagnosis = models.TextField(_("diagnosis"))
    endpoint_slug = models.CharField(_("endpoint"), max_length=100, blank=True)
    headers = models.JSONField(_("headers"), default=dict)
    body_digest = models.CharField(_("SHA-256 of the body"), max_length=64, blank=True)
    body_size = models.PositiveIntegerField(_("body size in bytes"), default=0)
    received_at = models.DateTimeField(_("received"), default=timezone.now)
    suppressed = models.PositiveIntegerField(
        _("suppressed"),
        default=0,
        help_text=_("How many were refused just before this one without being recorded."),
    )

    class Meta:
        verbose_name = _("rejected request")
        verbose_name_plural = _("rejected requests")
        ordering = ["-received_at", "-pk"]
        indexes = [
            models.Index(fields=["received_at"], name="gw_rejection_time"),
            models.Index(fields=["reason", "received_at"], name="gw_rejection_reason"),
        ]

    def __str__(self) -> str:
        return self.reason
