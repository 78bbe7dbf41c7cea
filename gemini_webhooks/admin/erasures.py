"""What was erased on request: who had it done, when, and how much it was."""

# ruff: noqa: D102  # a column says in its description what it shows

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.admin.base import ReadOnlyAdmin
from gemini_webhooks.models import Erasure


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    """Audit rows, which hold nothing of what was erased."""

    list_display = ("subject", "kind", "actor", "started_at", "ended", "deliveries", "left")
    list_filter = ("kind", "started_at")
    search_fields = ("subject__startswith", "actor__startswith")
    search_help_text = _("The beginning of a resource id, path or actor.")
    fields = (
        "kind",
        "subject",
        "digest",
        "actor",
        "started_at",
        "ended",
        "deliveries",
        "results",
        "jobs",
        "left",
    )

    @admin.display(description=_("finished"), ordering="finished_at")
    def ended(self, erasure: Erasure) -> str | Promise:
        if erasure.finished_at is None:
            return _("not yet, or it was interrupted")
        return display_for_value(erasure.finished_at, "")
