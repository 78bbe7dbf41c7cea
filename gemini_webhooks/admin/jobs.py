"""The ledger of jobs that this site started."""

# ruff: noqa: ARG002, D102  # Django names its methods; a column says what it shows

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import LongList, withheld
from gemini_webhooks.admin.rendering import metadata_block
from gemini_webhooks.admin.searching import Rows, few, resources_called
from gemini_webhooks.models import Job, WebhookDelivery


@admin.register(Job)
class JobAdmin(LongList):
    """Jobs whose end this site waits for, or has learnt."""

    list_display = (
        "resource_id",
        "kind",
        "state_badge",
        "submitted_at",
        "due_at",
        "delivery_link",
    )
    list_filter = ("state", "kind", "submitted_at")
    list_select_related = ("delivery",)
    deferred = ("user_metadata", "delivery__body", "delivery__user_metadata", "delivery__headers")
    payloads = ("metadata",)
    ordering = ("-pk",)
    search_fields = ("resource_id",)  # see get_search_results
    search_help_text = _("The beginning of a resource id or webhook id.")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "resource_id",
                    "kind",
                    "state_badge",
                    "submitted_at",
                    "due_at",
                    "event",
                    "others",
                )
            },
        ),
        (
            _("Asking Google"),
            {"fields": ("name", "api_key_name", "endpoint", "checked_at", "last_error")},
        ),
        (_("User metadata"), {"fields": ("metadata",), "classes": ("gw-wide",)}),
    )

    withheld_metadata = withheld(_("user metadata"))

    def get_search_results(
        self, request: HttpRequest, queryset: Rows, search_term: str
    ) -> tuple[Rows, bool]:
        words = search_term.strip()
        if words:
            told = Q(delivery__in=few(WebhookDelivery, Q(webhook_id__startswith=words)))
            queryset = queryset.filter(resources_called(words) | told)
        return queryset, False

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, job: Job) -> SafeString:
        return badge(job.state, job.get_state_display())

    @admin.display(description=_("delivery"))
    def delivery_link(self, job: Job) -> SafeString | str:
        return self.link(job.delivery)

    @admin.display(description=_("delivery"))
    def event(self, job: Job) -> SafeString | str:
        if job.delivery is None:
            return str(_("No event about it has come yet."))
        return self.link(job.delivery)

    @admin.display(description=_("all deliveries about it"))
    def others(self, job: Job) -> SafeString:
        url = self.list_of(WebhookDelivery, resource=job.name or job.resource_id)
        return format_html('<a href="{}">{}</a>', url, _("Show the deliveries about this job"))

    @admin.display(description=_("user metadata"))
    def metadata(self, job: Job) -> SafeString:
        return metadata_block(
            job.user_metadata, empty=_("The job has no metadata, or it was removed.")
        )
