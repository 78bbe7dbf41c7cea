"""Groups of dead letters: what was decided about them. The dead runs themselves are counted."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.models.fields import ExactCharField


class FailureGroup(models.Model):
    """Failures of one receiver with one class of error."""

    receiver = ExactCharField(_("receiver"), max_length=255)
    error_class = ExactCharField(_("error class"), max_length=255, blank=True)
    muted_at = models.DateTimeField(_("muted"), null=True, blank=True)
    muted_until = models.DateTimeField(_("muted until"), null=True, blank=True)
    muted_by = models.CharField(_("muted by"), max_length=255, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    #: Up to when its failures have been told of by e-mail.
    told_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("group of dead letters")
        verbose_name_plural = _("dead letters")
        ordering = ["receiver", "error_class"]
        constraints = [
            models.UniqueConstraint(
                fields=["receiver", "error_class"], name="gw_failure_group_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.receiver}: {self.error_class or '?'}"


class FailureMail(models.Model):
    """One row, while failures are told of by e-mail: whoever changes it sends the next one."""

    name = models.CharField(_("name"), max_length=20, primary_key=True)
    since = models.DateTimeField(_("tells of what failed since"))
    #: When the last one was sent, or somebody set out to; ``None`` if there was none yet.
    last_at = models.DateTimeField(_("last sent"), null=True)

    class Meta:
        verbose_name = _("e-mail about failures")
        verbose_name_plural = _("e-mails about failures")

    def __str__(self) -> str:
        return self.name
