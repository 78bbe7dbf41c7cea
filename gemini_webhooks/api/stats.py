"""Figures: over time, and how much is waiting now."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from gemini_webhooks import trends
from gemini_webhooks.api import queries, serializers
from gemini_webhooks.api.base import Address
from gemini_webhooks.api.permissions import views
from gemini_webhooks.api.schema import Operation


class StatsViews(Address):
    """What the dashboard shows."""

    basename = "stats"
    needs = (views("webhookdelivery"),)
    needs_besides = {
        "over_time": (views("rejectedrequest"),),
        "backlog": (views("receiverrun"), views("resultfile")),
    }
    operations = {
        "over_time": Operation(
            summary="Deliveries over time, by state, with times until done, and rejections",
            answers={200: serializers.TrendsSerializer},
            query=queries.StatsQuery,
        ),
        "backlog": Operation(
            summary="How much is waiting, and for how long",
            description="Counted up to 10,000, and at most a few seconds old.",
            answers={200: serializers.BacklogSerializer},
        ),
    }

    def over_time(self, request: Request) -> Response:
        """The figures of a period."""
        del request
        found = trends.read(self.read(queries.StatsQuery).asked.get("period", "24h"))
        figures: dict[str, Any] = {**asdict(found), "since": found.since, "total": found.total}
        return Response(serializers.TrendsSerializer(figures).data)

    def backlog(self, request: Request) -> Response:
        """How things stand."""
        del request
        self.read(queries.Query)
        return Response(serializers.BacklogSerializer(trends.backlog()).data)
