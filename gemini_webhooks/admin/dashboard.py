"""The dashboard: what is broken now, and how deliveries went over time."""

# ruff: noqa: ARG002  # Django names these methods and their arguments

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import trends
from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import ReadOnlyAdmin
from gemini_webhooks.admin.concerns import Seen, concerns
from gemini_webhooks.admin.figures import (
    latency_chart,
    number,
    rejections_chart,
    states_chart,
    tiles,
)
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import Figure, WebhookDelivery, WebhookEndpoint

DEFAULT: trends.Period = "24h"
NAMES: dict[trends.Period, Promise] = {
    "1h": _("1 hour"),
    "24h": _("24 hours"),
    "7d": _("7 days"),
    "30d": _("30 days"),
}
MOST_ENDPOINTS = 50


@admin.register(Figure)
class DashboardAdmin(ReadOnlyAdmin):
    """One page in the place of a list; figures by themselves have none."""

    def get_urls(self) -> list[URLPattern]:
        """The page, by the name under which the admin looks for it and by its own."""
        page = self.admin_site.admin_view(self.dashboard)
        names = ("gemini_webhooks_figure_changelist", "gemini_webhooks_dashboard")
        return [path("", page, name=name) for name in names]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may see deliveries may see how many there are."""
        return request.user.has_perm("gemini_webhooks.view_webhookdelivery")

    def dashboard(self, request: HttpRequest) -> HttpResponse:
        """The page for one period; each part of it for who may see the rows that it counts."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.get("period", DEFAULT)
        period = next((one for one in trends.PERIODS if one == asked), DEFAULT)
        found, seen = trends.read(period), _look(request, period)
        came = bool(found.total) or rows(WebhookDelivery).exists()
        charts = [states_chart(found), latency_chart(found)] if came else []
        if seen.may("rejectedrequest") and (came or found.rejections):
            charts.append(rejections_chart(found))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Dashboard"),
            "opts": self.opts,
            "media": self.media,
            "asked": None if period == asked else asked,
            "period": period,
            "periods": [(one, NAMES[one]) for one in trends.PERIODS],
            "found": found,
            "seen": seen,
            "came": came,
            "concerns": concerns(found, seen, self._url),
            "tiles": tiles(found, seen),
            "charts": charts,
            "endpoints": [_shown(one) for one in seen.endpoints[:MOST_ENDPOINTS]],
            "more_endpoints": max(0, len(seen.endpoints) - MOST_ENDPOINTS),
            "may_add_endpoint": request.user.has_perm("gemini_webhooks.add_webhookendpoint"),
        }
        status = HTTPStatus.OK if period == asked else HTTPStatus.BAD_REQUEST
        template = "admin/gemini_webhooks/dashboard/page.html"
        return TemplateResponse(request, template, context, status=status)

    def _url(self, name: str, *args: object) -> str:
        """The path of a page of this app; empty if the site has taken it out of its admin."""
        name = f"admin:gemini_webhooks_{name}"
        try:
            return reverse(name, args=args, current_app=self.admin_site.name)
        except NoReverseMatch:
            return ""


def _look(request: HttpRequest, period: trends.Period) -> Seen:
    """How things stand, as far as the user may see it."""
    models = ("receiverrun", "rejectedrequest", "resultfile", "webhookendpoint", "pause")
    allowed = frozenset(
        model for model in models if request.user.has_perm(f"gemini_webhooks.view_{model}")
    )
    return Seen(
        allowed=allowed,
        backlog=trends.backlog(),
        oldest=trends.oldest_waiting(),
        failing=trends.failing(period) if "receiverrun" in allowed else (),
        endpoints=trends.endpoints(period) if "webhookendpoint" in allowed else (),
        results=trends.results(period) if "resultfile" in allowed else None,
        paused=trends.paused() if "pause" in allowed else (),
    )


def _shown(endpoint: trends.EndpointHealth) -> dict[str, Any]:
    """A row of the table of endpoints."""
    states = dict(WebhookEndpoint.State.choices)
    label = states.get(endpoint.state, endpoint.state)
    return {
        "health": endpoint,
        "state": badge(endpoint.state, label) if endpoint.state else "",
        "received": number(endpoint.deliveries),
        "failed": number(endpoint.failed),
        "refused": number(endpoint.rejected),
    }
