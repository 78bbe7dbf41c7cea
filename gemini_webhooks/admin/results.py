"""Result files: how far they are, and the way to them."""

# ruff: noqa: ARG002, D102  # Django names its methods; a column says what it shows

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import EMPTY, LongList, excerpt, withheld
from gemini_webhooks.admin.previews import preview_block
from gemini_webhooks.admin.rendering import text_block
from gemini_webhooks.admin.searching import Rows, deliveries_called, few
from gemini_webhooks.models import ResultFile, WebhookDelivery


class ResultShows:
    """What a list, a page and a table of result files show alike."""

    @admin.display(description=_("source"), ordering="source_uri")
    def source(self, result: ResultFile) -> str:
        return excerpt(result.source_uri)

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, result: ResultFile) -> SafeString:
        return badge(result.state, result.get_state_display())

    @admin.display(description=_("progress"))
    def progress(self, result: ResultFile) -> str:
        done = filesizeformat(result.bytes_done)
        if result.size is None:
            return done
        if result.bytes_done == result.size:
            return filesizeformat(result.size)
        return gettext("%(done)s of %(size)s") % {
            "done": done,
            "size": filesizeformat(result.size),
        }

    @admin.display(description=_("rows"), ordering="rows")
    def row_count(self, result: ResultFile) -> int:
        # The field's own value can be called, which Django's helpers take for a function.
        return int(result.rows)

    @admin.display(description=_("error"))
    def error_excerpt(self, result: ResultFile) -> str:
        return excerpt(result.error)

    @admin.display(description=_("file"))
    def download(self, result: ResultFile) -> SafeString | str | Promise:
        try:
            if result.state == ResultFile.State.REMOVED:
                return _("removed from the storage")
            if result.state != ResultFile.State.COMPLETE or not result.file:
                return EMPTY
            return format_html('<a href="{}" download>{}</a>', result.file.url, _("Download"))
        except Exception:  # noqa: BLE001  # a storage may raise anything; the page must open
            return _("stored, but its storage gives no address for it")


@admin.register(ResultFile)
class ResultFileAdmin(ResultShows, LongList):
    """The output of jobs: where it came from and where it is kept."""

    list_display = (
        "source",
        "delivery_link",
        "state_badge",
        "progress",
        "row_count",
        "failed_rows",
        "created_at",
        "error_excerpt",
    )
    list_filter = ("state", "created_at")
    list_select_related = ("delivery",)
    deferred = ("delivery__body", "delivery__user_metadata", "delivery__headers")
    payloads = ("first_rows", "download", "file_name")
    ordering = ("-pk",)
    search_fields = ("source_uri",)  # see get_search_results
    search_help_text = _("The beginning of a source, webhook id or resource id.")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "delivery",
                    "source_uri",
                    "state_badge",
                    "progress",
                    "error_text",
                    "row_count",
                    "failed_rows",
                    "download",
                )
            },
        ),
        (_("First rows"), {"fields": ("first_rows",), "classes": ("gw-wide",)}),
        (_("The file"), {"fields": ("file_name", "content_type", "crc32c", "generation")}),
        (
            _("How it is fetched"),
            {
                "fields": (
                    "attempts",
                    "next_attempt_at",
                    "created_at",
                    "lease_until",
                    "finished_at",
                )
            },
        ),
    )

    withheld_first_rows = withheld(_("first rows"))
    withheld_download = withheld(_("file"))
    withheld_file_name = withheld(_("name in the storage"))

    def get_search_results(
        self, request: HttpRequest, queryset: Rows, search_term: str
    ) -> tuple[Rows, bool]:
        words = search_term.strip()
        if words:
            of_deliveries = few(WebhookDelivery, deliveries_called(words))
            known = Q(delivery__in=of_deliveries) if of_deliveries != [] else None
            queryset = queryset.filter(known or Q(source_uri__startswith=words))
        return queryset, False

    @admin.display(description=_("first rows"))
    def first_rows(self, result: ResultFile) -> SafeString:
        return preview_block(result)

    @admin.display(description=_("delivery"))
    def delivery_link(self, result: ResultFile) -> SafeString | str:
        return self.link(result.delivery)

    @admin.display(description=_("error"))
    def error_text(self, result: ResultFile) -> SafeString | str:
        return text_block(result.error, label=_("Error")) if result.error else EMPTY

    @admin.display(description=_("name in the storage"))
    def file_name(self, result: ResultFile) -> str:
        return result.file.name or EMPTY
