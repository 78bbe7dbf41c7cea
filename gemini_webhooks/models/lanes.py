"""Lanes: runs that share a limit on how many of them are executed at once."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.models.fields import ExactCharField


class Lane(models.Model):
    """A limit and its name; runs refer to it by name while they are unfinished.

    Whoever counts the runs of a lane holds its row, so that two do not both take the last place.
    """

    name = ExactCharField(_("name"), max_length=255, primary_key=True)
    limit = models.PositiveIntegerField(_("runs at once"))
    #: When a run was last put into it, give or take an hour; ``None`` is not known.
    used_at = models.DateTimeField(_("last used"), null=True, editable=False)

    class Meta:
        verbose_name = _("lane")
        verbose_name_plural = _("lanes")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
