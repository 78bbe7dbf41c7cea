"""What the studio keeps."""

from __future__ import annotations

from django.db import models


class BatchRow(models.Model):
    """The answer to one request of a batch, or why there is none."""

    batch_id = models.CharField(max_length=255)
    tenant = models.CharField(max_length=100, blank=True)
    key = models.CharField(max_length=255)
    text = models.TextField(blank=True)
    error = models.TextField(blank=True)

    class Meta:
        verbose_name = "batch row"
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["batch_id", "key"], name="studio_row_once"),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.key}"
