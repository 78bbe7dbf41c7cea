"""What has nothing but a list and a page for each row."""

from __future__ import annotations

from gemini_webhooks.api import queries, serializers
from gemini_webhooks.api.base import ListsAndShows
from gemini_webhooks.api.permissions import views
from gemini_webhooks.api.schema import Operation
from gemini_webhooks.models import RejectedRequest, WebhookEndpoint


class RejectionViews(ListsAndShows):
    """Requests that were refused."""

    model = RejectedRequest
    basename = "rejections"
    deferred = ("headers",)
    detailed = deferred
    query_class = queries.RejectionQuery
    serializer_class = serializers.RejectionSerializer
    detail_serializer_class = serializers.RejectionDetailSerializer
    needs = (views("rejectedrequest"),)
    operations = {
        "list": Operation(
            summary="Rejected requests, the newest first", query=queries.RejectionQuery
        ),
        "retrieve": Operation(
            summary="One rejected request, with those headers that are not secret"
        ),
    }


class EndpointViews(ListsAndShows):
    """Addresses at which Google delivers."""

    model = WebhookEndpoint
    basename = "endpoints"
    query_class = queries.EndpointQuery
    serializer_class = serializers.EndpointSerializer
    needs = (views("webhookendpoint"),)
    operations = {
        "list": Operation(summary="Endpoints, the newest first", query=queries.EndpointQuery),
        "retrieve": Operation(summary="One endpoint, without its secrets"),
    }
