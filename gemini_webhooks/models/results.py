"""Result files that deliveries announce."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.models.deliveries import WebhookDelivery
from gemini_webhooks.models.fields import ResultFileField, RowsField


class ResultFile(models.Model):
    """The output of a job: where it came from, how far it is and where it is kept."""

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        FETCHING = "fetching", _("fetching")
        RETRYING = "retrying", _("retrying")
        COMPLETE = "complete", _("complete")
        FAILED = "failed", _("failed")
        REMOVED = "removed", _("removed")

    delivery = models.ForeignKey(
        WebhookDelivery,
        on_delete=models.CASCADE,
        related_name="results",
        verbose_name=_("delivery"),
    )
    #: Counts the files of one delivery, from 0.
    position = models.PositiveSmallIntegerField(_("position"), default=0, editable=False)
    source_uri = models.CharField(_("source"), max_length=1500)
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.PENDING)
    file = ResultFileField(_("file"), max_length=500, blank=True)
    content_type = models.CharField(_("content type"), max_length=255, blank=True)
    bytes_done = models.BigIntegerField(_("bytes fetched"), default=0)
    size = models.BigIntegerField(_("size in bytes"), null=True, blank=True)
    crc32c = models.CharField(_("CRC32C (base64)"), max_length=8, blank=True)
    generation = models.CharField(_("object generation"), max_length=32, blank=True)
    #: How many rows; called, ``result.rows()`` iterates over them, parsed.
    rows = RowsField(_("rows"), default=0)
    failed_rows = models.BigIntegerField(_("failed rows"), default=0)
    error = models.TextField(_("error"), blank=True)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    #: How often the sweeper has handed it on since it was due.
    sweeps = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    claim = models.CharField(_("claim"), max_length=32, blank=True)
    lease_until = models.DateTimeField(_("lease ends"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        verbose_name = _("result file")
        verbose_name_plural = _("result files")
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "position"], name="gw_result_once"),
        ]
        indexes = [
            models.Index(fields=["state", "next_attempt_at"], name="gw_result_due"),
            models.Index(fields=["state", "lease_until"], name="gw_result_leased"),
            models.Index(fields=["state", "finished_at"], name="gw_result_finished"),
        ]

    def __str__(self) -> str:
        return self.source_uri
