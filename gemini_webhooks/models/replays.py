"""Replays: who had which deliveries run again, when and why."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.models.deliveries import WebhookDelivery


class Replay(models.Model):
    """One order to run deliveries again: a single one, or all that a selection finds."""

    class What(models.TextChoices):
        EVERYTHING = "everything", _("all receivers")
        FAILED = "failed", _("what failed")
        RECEIVERS = "receivers", _("some receivers")
        RESULTS = "results", _("the fetch of the result file")

    class State(models.TextChoices):
        RUNNING = "running", _("running")
        FINISHED = "finished", _("finished")
        STOPPED = "stopped", _("stopped")

    what = models.CharField(_("what runs again"), max_length=20, choices=What)
    #: Stable names, for ``receivers`` only.
    receivers = models.JSONField(_("receivers"), default=list, blank=True)
    #: What it was asked for: the fields of ``deliveries.Selection`` that are not empty.
    selection = models.JSONField(_("selection"), default=dict, blank=True)
    actor = models.CharField(_("actor"), max_length=255)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    rate = models.PositiveIntegerField(_("deliveries per minute"), null=True, blank=True)
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.RUNNING)
    total = models.PositiveIntegerField(_("deliveries"), default=0)
    replayed = models.PositiveIntegerField(_("replayed"), default=0)
    skipped = models.PositiveIntegerField(_("skipped"), default=0)
    #: Deliveries are taken in the order of their ids: those up to ``position`` are done, those
    #: after ``last`` came later and are not meant.
    position = models.BigIntegerField(default=0, editable=False)
    last = models.BigIntegerField(default=0, editable=False)
    #: When the next step is due; ``None`` once it has ended.
    next_step_at = models.DateTimeField(null=True, editable=False)
    sweeps = models.PositiveSmallIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("started"), default=timezone.now, editable=False)
    finished_at = models.DateTimeField(_("ended"), null=True, blank=True)
    stopped_by = models.CharField(_("stopped by"), max_length=255, blank=True)

    class Meta:
        verbose_name = _("replay")
        verbose_name_plural = _("replays")
        ordering = ["-created_at", "-pk"]
        indexes = [
            models.Index(fields=["state", "next_step_at"], name="gw_replay_due"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"


class ReplayedDelivery(models.Model):
    """Audit row: a replay came to a delivery."""

    replay = models.ForeignKey(
        Replay,
        on_delete=models.CASCADE,
        related_name="log",
        verbose_name=_("replay"),
        db_index=False,  # the constraint below has one
    )
    delivery = models.ForeignKey(
        WebhookDelivery,
        on_delete=models.CASCADE,
        related_name="replays",
        verbose_name=_("delivery"),
    )
    at = models.DateTimeField(_("time"), default=timezone.now)
    runs = models.PositiveIntegerField(_("runs"), default=0)
    #: Why nothing of it runs again; empty if something does.
    problem = models.CharField(_("why not"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("replayed delivery")
        verbose_name_plural = _("replayed deliveries")
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["replay", "delivery"], name="gw_replayed_once"),
        ]
        indexes = [
            models.Index(fields=["at"], name="gw_replayed_at"),
        ]

    def __str__(self) -> str:
        return f"{self.replay} {self.delivery_id}"
