"""The studio in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from example_project.studio.models import BatchRow

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[BatchRow]
else:  # generic only in the stubs
    ModelAdmin = admin.ModelAdmin


@admin.register(BatchRow)
class BatchRowAdmin(ModelAdmin):
    """Rows are looked at, by batch and tenant."""

    list_display = ["key", "batch_id", "tenant", "text", "error"]
    list_filter = ["tenant", "batch_id"]
    search_fields = ["key", "text"]
