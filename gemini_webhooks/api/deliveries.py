"""Deliveries, the runs of their receivers, and the attempts of those."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from gemini_webhooks import replay
from gemini_webhooks.api import errors, orders, queries, serializers
from gemini_webhooks.api.base import ListsAndShows
from gemini_webhooks.api.permissions import REPLAYS, views
from gemini_webhooks.api.schema import Operation
from gemini_webhooks.api.throttling import ReplayThrottle
from gemini_webhooks.exceptions import NothingToReplay, PayloadPruned
from gemini_webhooks.models import Attempt, ReceiverRun, WebhookDelivery


class DeliveryViews(ListsAndShows):
    """What came."""

    model = WebhookDelivery
    basename = "deliveries"
    related = ("endpoint",)
    deferred = ("body", "user_metadata", "headers")
    detailed = deferred
    query_class = queries.DeliveryQuery
    serializer_class = serializers.DeliverySerializer
    detail_serializer_class = serializers.DeliveryDetailSerializer
    needs = (views("webhookdelivery"),)
    needs_besides = {"replay": (REPLAYS,)}
    throttles = {"replay": ReplayThrottle}
    operations = {
        "list": Operation(
            summary="Deliveries, the newest first",
            description="Without what came in them.",
            query=queries.DeliveryQuery,
        ),
        "retrieve": Operation(
            summary="One delivery, with body and metadata",
            description="Body and metadata are there for who has the permission `view_payload`, as "
            "far as `REDACT` lets them be seen.",
        ),
        "replay": Operation(
            summary="Run receivers of one delivery again",
            answers={202: serializers.ReplayedRunsSerializer},
            problems={
                409: "Nothing of it can run again (nothing_to_replay), or its body was removed "
                "(payload_removed)."
            },
            body=orders.DeliveryReplayBody,
            examples=[
                OpenApiExample(
                    "What failed",
                    value={"what": "failed", "reason": "the shop was down"},
                    request_only=True,
                )
            ],
        ),
    }

    def list(self, request: Request) -> Response:
        """A page of them; by metadata only for who may see metadata."""
        if "metadata" in request.query_params and not self.sees_payloads():
            raise PermissionDenied("To look for metadata, the permission view_payload is needed.")
        return super().list(request)

    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Run receivers again."""
        del pk
        self.read(queries.Query)
        order = orders.DeliveryReplayBody(data=request.data)
        order.is_valid(raise_exception=True)
        try:
            runs = replay.replay(
                self.get_object(), actor=request.user.get_username(), **order.validated_data
            )
        except PayloadPruned as error:
            raise errors.Problem(str(error), code="payload_removed") from None
        except NothingToReplay as error:
            raise errors.Problem(str(error), code="nothing_to_replay") from None
        return Response({"runs": runs}, status=status.HTTP_202_ACCEPTED)


class RunViews(ListsAndShows):
    """One receiver of a delivery."""

    model = ReceiverRun
    basename = "runs"
    related = ("delivery",)
    deferred = ("delivery__body", "delivery__user_metadata", "delivery__headers")
    query_class = queries.RunQuery
    serializer_class = serializers.RunSerializer
    needs = (views("receiverrun"),)
    operations = {
        "list": Operation(summary="Runs of receivers, the newest first", query=queries.RunQuery),
        "retrieve": Operation(summary="One run of a receiver"),
    }


class AttemptViews(ListsAndShows):
    """What became of each try."""

    model = Attempt
    basename = "attempts"
    related = ("run",)
    deferred = ("traceback",)
    detailed = ("traceback",)
    query_class = queries.AttemptQuery
    serializer_class = serializers.AttemptSerializer
    detail_serializer_class = serializers.AttemptDetailSerializer
    needs = (views("attempt"),)
    operations = {
        "list": Operation(summary="Attempts, the newest first", query=queries.AttemptQuery),
        "retrieve": Operation(summary="One attempt, with its traceback"),
    }
