"""Lanes: which limits there are, how many runs they hold back, and since when."""

# ruff: noqa: D102  # a column says in its description what it shows; Django's arguments

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.db.models import Count, Min, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.admin.base import EMPTY, ReadOnlyAdmin
from gemini_webhooks.models import Lane, ReceiverRun


@admin.register(Lane)
class LaneAdmin(ReadOnlyAdmin):
    """Limits on how many runs are executed at once, as the receivers' code asked for them."""

    list_display = ("name", "limit", "executed", "waiting", "waits_since")
    search_fields = ("name",)
    search_help_text = _("A part of a lane’s name.")
    fields = ("name", "limit", "executed", "waiting", "waits_since", "runs")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        executed = Q(state=ReceiverRun.State.RUNNING, lease_until__gte=clock.now())
        lanes: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                executed_now=_of_runs(Count("pk", filter=executed)),
                parked_now=_of_runs(Count("pk", filter=Q(parked_at__isnull=False))),
                parked_since=_of_runs(Min("parked_at")),
            )
        )
        return lanes

    @admin.display(description=_("executed now"))
    def executed(self, lane: Any) -> int:
        return lane.executed_now or 0

    @admin.display(description=_("waiting for a place"))
    def waiting(self, lane: Any) -> int:
        return lane.parked_now or 0

    @admin.display(description=_("the longest since"))
    def waits_since(self, lane: Any) -> str:
        return display_for_value(lane.parked_since, EMPTY)

    @admin.display(description=_("runs"))
    def runs(self, lane: Lane) -> SafeString:
        name = f"{self.admin_site.name}:gemini_webhooks_receiverrun_changelist"
        query = urlencode({"lane__exact": lane.name})
        return format_html('<a href="{}?{}">{}</a>', reverse(name), query, _("Show them"))


def _of_runs(figure: Any) -> Subquery:
    """A figure of a lane's unfinished runs."""
    runs = ReceiverRun._default_manager.filter(lane=OuterRef("name")).order_by()
    return Subquery(runs.values("lane").annotate(figure=figure).values("figure"))
