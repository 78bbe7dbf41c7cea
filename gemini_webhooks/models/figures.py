"""Figures over time, rolled up, so that a dashboard need not count deliveries."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.models.fields import ExactCharField


class Figure(models.Model):
    """How much of something there was within one period of five minutes; see ``trends``."""

    name = models.CharField(_("figure"), max_length=20)
    label = ExactCharField(_("of which kind"), max_length=100)
    start = models.DateTimeField(_("start"))
    value = models.BigIntegerField(_("value"), default=0)

    class Meta:
        verbose_name = _("figure")
        # The admin lists models by it, and this one's page there is the dashboard.
        verbose_name_plural = _("dashboard")
        ordering = ["start", "name", "label"]
        constraints = [
            models.UniqueConstraint(fields=["name", "start", "label"], name="gw_figure_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.label}"


class RollUp(models.Model):
    """Up to when figures have been rolled up."""

    name = models.CharField(_("figure"), max_length=20, primary_key=True)
    until = models.DateTimeField(_("until"))

    class Meta:
        verbose_name = _("roll-up")
        verbose_name_plural = _("roll-ups")

    def __str__(self) -> str:
        return self.name
