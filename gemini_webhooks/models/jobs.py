"""The ledger of jobs that this site started."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.models.deliveries import WebhookDelivery
from gemini_webhooks.models.fields import ExactCharField


class Job(models.Model):
    """A batch, interaction or operation at Google whose end this site waits for."""

    class Kind(models.TextChoices):
        BATCH = "batch", _("batch")
        INTERACTION = "interaction", _("interaction")
        OPERATION = "operation", _("operation (video)")

    class State(models.TextChoices):
        SUBMITTED = "submitted", _("submitted")
        SUCCEEDED = "succeeded", _("succeeded")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")
        EXPIRED = "expired", _("expired")
        REQUIRES_ACTION = "requires_action", _("requires action")

    #: Without the ``batches/`` or ``operations/`` prefix that some calls put before it.
    resource_id = ExactCharField(_("resource id"), max_length=255, unique=True)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    user_metadata = models.JSONField(_("user metadata"), default=dict, blank=True)
    api_key_name = models.CharField(_("API key"), max_length=100, default="default")
    submitted_at = models.DateTimeField(_("submitted"), default=timezone.now)
    due_at = models.DateTimeField(_("due"))
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.SUBMITTED)
    delivery = models.ForeignKey(
        WebhookDelivery,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="jobs",
        verbose_name=_("delivery"),
    )

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ["-submitted_at", "-pk"]
        indexes = [
            models.Index(fields=["state", "due_at"], name="gw_job_due"),
        ]

    def __str__(self) -> str:
        return self.resource_id
