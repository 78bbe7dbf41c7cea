"""Result files: how far they are, their rows, and the files themselves."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework.decorators import action
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from gemini_webhooks.api import downloads, queries, rows, serializers
from gemini_webhooks.api.base import ListsAndShows
from gemini_webhooks.api.paging import DEFAULT_SIZE
from gemini_webhooks.api.permissions import SEES_PAYLOADS, views
from gemini_webhooks.api.schema import USUAL, Operation
from gemini_webhooks.api.throttling import DownloadThrottle
from gemini_webhooks.models import ResultFile

GONE = {
    404: f"{USUAL[404]} Or the file is not there any more (result_removed, file_missing).",
    409: "The result is not complete (result_not_complete).",
}


class Whatever(DefaultContentNegotiation):
    """Who downloads a file asks for its type, which no renderer has."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        """The site's first one."""
        del request, format_suffix
        return renderers[0], renderers[0].media_type


class ResultViews(ListsAndShows):
    """The output of jobs."""

    model = ResultFile
    basename = "results"
    related = ("delivery",)
    deferred = ("delivery__body", "delivery__user_metadata", "delivery__headers")
    query_class = queries.ResultQuery
    serializer_class = serializers.ResultSerializer
    needs = (views("resultfile"),)
    needs_besides = {"rows": (SEES_PAYLOADS,), "download": (SEES_PAYLOADS,)}
    throttles = {"download": DownloadThrottle, "rows": DownloadThrottle}
    operations = {
        "list": Operation(summary="Result files, the newest first", query=queries.ResultQuery),
        "retrieve": Operation(summary="One result file: how far it is"),
        "rows": Operation(
            summary="Rows of a result file",
            description="As `REDACT` lets them be seen.",
            answers={200: serializers.RowsSerializer},
            problems=GONE,
            query=queries.RowsQuery,
        ),
        "download": Operation(
            summary="The file of a result",
            description="As it is: `REDACT` does not change it. A header `Range` with one range is "
            "answered 206, or 416 if the file has no such bytes; several ranges with the whole "
            "file. `If-Range`, `If-Match` and `If-None-Match` take the ETag of an earlier answer.",
            answers={
                (200, "application/octet-stream"): OpenApiTypes.BINARY,
                (206, "application/octet-stream"): OpenApiTypes.BINARY,
                304: OpenApiResponse(description="It has not changed."),
            },
            problems={
                **GONE,
                412: "The file has changed (precondition_failed).",
                416: "The file has no such bytes (range_not_satisfiable).",
            },
        ),
    }

    def get_content_negotiator(self) -> Any:
        """For a download, none that refuses."""
        is_download = "download" in self.action_map.values()  # the action is not set yet
        return Whatever() if is_download else super().get_content_negotiator()

    @action(detail=True, methods=["get"])
    def rows(self, request: Request, pk: str) -> Response:
        """Some of the rows."""
        del request, pk
        asked = self.read(queries.RowsQuery).asked
        result = self.get_object()
        with downloads.opened(result) as file, downloads.told(result):
            found, following = rows.read(
                file, after=asked.get("after", 0), limit=asked.get("page_size", DEFAULT_SIZE)
            )
        return Response({"next": following, "results": [asdict(row) for row in found]})

    @action(detail=True, methods=["get"])
    def download(self, request: Request, pk: str) -> HttpResponseBase:
        """The file."""
        del pk
        self.read(queries.Query)
        return downloads.send(request._request, self.get_object())
