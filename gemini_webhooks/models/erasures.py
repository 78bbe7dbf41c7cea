"""The record of what was erased on request."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Erasure(models.Model):
    """Audit row: who had what erased, and when. It holds nothing of what was erased."""

    class Kind(models.TextChoices):
        RESOURCE = "resource", _("a resource")
        METADATA = "metadata", _("a value of the metadata")

    kind = models.CharField(_("what it went by"), max_length=10, choices=Kind)
    #: The resource id, which stays on the deliveries as well; or the path within the metadata.
    subject = models.CharField(_("resource id or path"), max_length=255)
    #: Shows to somebody who knows the value and ``SECRET_KEY`` that this value was meant.
    digest = models.CharField(_("keyed digest of the value"), max_length=64, blank=True)
    actor = models.CharField(_("actor"), max_length=255)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    deliveries = models.PositiveIntegerField(_("deliveries"), default=0)
    results = models.PositiveIntegerField(_("result files"), default=0)
    jobs = models.PositiveIntegerField(_("jobs"), default=0)
    #: Being executed at that moment, or with a file that the storage would not delete.
    left = models.PositiveIntegerField(_("left over"), default=0)

    class Meta:
        verbose_name = _("erasure")
        verbose_name_plural = _("erasures")
        ordering = ["-started_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.subject} {self.started_at:%Y-%m-%d}"
