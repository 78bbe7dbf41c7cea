"""What the receivers of the test site write."""

from __future__ import annotations

from django.db import models


class Effect(models.Model):
    """One row per receiver that ran: shows what was done once, twice or not at all."""

    receiver = models.CharField(max_length=100)
    webhook_id = models.CharField(max_length=255)

    class Meta:
        app_label = "tests_site"

    def __str__(self) -> str:
        return f"{self.receiver} {self.webhook_id}"
