"""The studio in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from example_project.studio.models import BatchRow, Commission, Tenant

if TYPE_CHECKING:
    BatchRowAdminBase = admin.ModelAdmin[BatchRow]
    CommissionAdminBase = admin.ModelAdmin[Commission]
    TenantAdminBase = admin.ModelAdmin[Tenant]
else:  # generic only in the stubs
    BatchRowAdminBase = CommissionAdminBase = TenantAdminBase = admin.ModelAdmin


@admin.register(Tenant)
class TenantAdmin(TenantAdminBase):
    """Who belongs to whom."""

    list_display = ["name", "slug"]
    filter_horizontal = ["members"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Commission)
class CommissionAdmin(CommissionAdminBase):
    """Commissions of all tenants are looked at."""

    list_display = ["title", "tenant", "kind", "state", "tries", "placed_at"]
    list_filter = ["tenant", "kind", "state"]
    search_fields = ["prompt", "resource_id"]
    raw_id_fields = ["result", "placed_by"]


@admin.register(BatchRow)
class BatchRowAdmin(BatchRowAdminBase):
    """Rows are looked at, by batch and tenant."""

    list_display = ["key", "batch_id", "tenant", "text", "error"]
    list_filter = ["tenant", "batch_id"]
    search_fields = ["key", "text"]
