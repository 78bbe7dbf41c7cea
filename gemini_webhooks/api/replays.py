"""Replays: who had which deliveries run again. They are started and stopped here."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from gemini_webhooks import deliveries, replay
from gemini_webhooks.api import errors, orders, queries, serializers
from gemini_webhooks.api.base import ListsAndShows
from gemini_webhooks.api.permissions import REPLAYS, views
from gemini_webhooks.api.schema import Operation
from gemini_webhooks.api.throttling import ReplayThrottle
from gemini_webhooks.exceptions import InvalidSelection, NothingToReplay
from gemini_webhooks.models import Replay, ReplayedDelivery


class ReplayViews(ListsAndShows):
    """Orders to run deliveries again."""

    model = Replay
    basename = "replays"
    query_class = queries.ReplayQuery
    serializer_class = serializers.ReplaySerializer
    needs = (views("replay"),)
    needs_besides = {
        "create": (REPLAYS, views("webhookdelivery")),
        "stop": (REPLAYS,),
        "deliveries": (views("webhookdelivery"),),
    }
    throttles = {"create": ReplayThrottle, "stop": ReplayThrottle}
    operations = {
        "list": Operation(summary="Replays, the newest first", query=queries.ReplayQuery),
        "retrieve": Operation(summary="One replay: how far it is"),
        "create": Operation(
            summary="Run again all deliveries that a selection finds",
            description="With `dry_run`, nothing runs, and the answer (200) says how many there "
            "are. Else the replay begins, workers do it, and the answer (201) is how it stands.",
            answers={200: serializers.PreviewSerializer, 201: serializers.ReplaySerializer},
            problems={409: "The selection finds nothing (nothing_to_replay)."},
            body=orders.ReplayBody,
            examples=[
                OpenApiExample(
                    "How many would it be?",
                    value={
                        "selection": {"states": ["failed"], "since": "2026-11-20T14:00:00Z"},
                        "what": "failed",
                        "dry_run": True,
                    },
                    request_only=True,
                )
            ],
        ),
        "stop": Operation(
            summary="Stop a replay",
            description="It comes to no further delivery. What it has begun goes on.",
            answers={200: serializers.ReplaySerializer},
            problems={409: "It had ended before (already_ended)."},
        ),
        "deliveries": Operation(
            summary="What became of the deliveries that a replay came to, the last ones first",
            answers={200: serializers.ReplayedPageSerializer},
            query=queries.ListQuery,
        ),
    }

    def create(self, request: Request) -> Response:
        """Start one, or say what it would be about."""
        self.read(queries.Query)
        order = orders.ReplayBody(data=request.data)
        order.is_valid(raise_exception=True)
        chosen, asked = order.chosen(), order.validated_data
        if chosen["selection"].metadata and not self.sees_payloads():
            raise PermissionDenied("To select by metadata, the permission view_payload is needed.")
        try:
            if asked.get("dry_run"):
                found = replay.preview(**chosen)
                return Response(serializers.PreviewSerializer(found).data)
            begun = replay.start(
                **chosen,
                rate=asked.get("rate"),
                everything=asked.get("everything", False),
                actor=request.user.get_username(),
                reason=asked.get("reason", ""),
            )
        except InvalidSelection as error:
            raise ValidationError({"selection": [str(error)]}) from None
        except NothingToReplay as error:
            raise errors.Problem(str(error), code="nothing_to_replay") from None
        return Response(self.get_serializer(begun).data, status=status.HTTP_201_CREATED)

    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Stop it."""
        del pk
        self.read(queries.Query)
        found = self.get_object()
        if not replay.stop(found, actor=request.user.get_username()):
            raise errors.Problem("The replay had ended before.", code="already_ended")
        return Response(self.get_serializer(self.get_object()).data)

    @action(detail=True, methods=["get"])
    def deliveries(self, request: Request, pk: str) -> Response:
        """What became of each."""
        del pk
        query = self.read(queries.ListQuery)
        log = deliveries.rows(ReplayedDelivery).filter(replay=self.get_object())
        log = log.select_related("delivery").only(
            "delivery__webhook_id", *(field.name for field in ReplayedDelivery._meta.fields)
        )
        return self.page_of(request, log, query, serializers.ReplayedSerializer)
