"""The ledger of jobs that this site started."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.models.deliveries import WebhookDelivery
from gemini_webhooks.models.endpoints import WebhookEndpoint
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
        LOST = "lost", _("lost: its end cannot be found out")

    #: Without the ``batches/`` or ``operations/`` prefix that some calls put before it.
    resource_id = ExactCharField(_("resource id"), max_length=255, unique=True)
    #: What Google is asked for: ``batches/…``, ``models/…/operations/…``, or the bare id.
    #: The defaults of the database are for processes of the version before, during an upgrade.
    name = models.CharField(_("name"), max_length=500, blank=True, default="", db_default="")
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    user_metadata = models.JSONField(_("user metadata"), default=dict, blank=True)
    api_key_name = models.CharField(_("API key"), max_length=100, default="default")
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="jobs",
        verbose_name=_("endpoint"),
    )
    submitted_at = models.DateTimeField(_("submitted"), default=timezone.now)
    #: When its silence is suspicious; after that, when Google is asked next.
    due_at = models.DateTimeField(_("due"))
    checked_at = models.DateTimeField(_("Google asked"), null=True, blank=True)
    last_error = models.CharField(
        _("last error"), max_length=1000, blank=True, default="", db_default=""
    )
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
