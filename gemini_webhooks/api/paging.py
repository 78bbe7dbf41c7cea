"""Pages that begin where another ended: as cheap in the millionth row as in the first.

A list has one order, newest first, which an index serves. The cursor says which row a page follows
(``n``, next) or goes before (``p``, previous), by the values of that order. Nothing is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

DEFAULT_SIZE, MAX_SIZE = 50, 200
BY_ID = r"^[np]\d{1,18}$"
BY_TIME = r"^[np]\d{1,17}\.\d{1,18}$"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Where a page begins.

    Attributes:
        is_back: the page goes before the row, not after it.
        id: primary key of the row.
        at: its time, if the list is ordered by time.
    """

    is_back: bool
    id: int
    at: datetime | None

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Read a cursor that has the form of one."""
        time, _, pk = text[1:].rpartition(".")
        at = EPOCH + timedelta(microseconds=int(time)) if time else None
        if at is not None and not settings.USE_TZ:
            at = at.replace(tzinfo=None)
        return cls(is_back=text[0] == "p", id=int(pk), at=at)

    def written(self) -> str:
        """As it stands in an address."""
        text = "p" if self.is_back else "n"
        if self.at is not None:
            # Without USE_TZ just as it is in the database: it is compared with nothing else.
            at = self.at if self.at.tzinfo else self.at.replace(tzinfo=UTC)
            text += f"{(at - EPOCH) // timedelta(microseconds=1)}."
        return f"{text}{self.id}"

    def beyond(self, column: str | None) -> Q:
        """Rows on the far side of it."""
        to = "gt" if self.is_back else "lt"
        further = Q((f"pk__{to}", self.id))
        if column is None:
            return further
        # The first condition is for the index, the second for rows of the same moment.
        return Q((f"{column}__{to}e", self.at)) & (Q((f"{column}__{to}", self.at)) | further)


class Pages(BasePagination):
    """Cuts a page out of a list and links to its neighbours."""

    display_page_controls = False
    page: Sequence[Any] = ()
    links: Mapping[str, str | None] = {}

    def cut(
        self,
        rows: QuerySet[Any],
        *,
        request: Request,
        time: str | None,
        cursor: Cursor | None,
        size: int,
    ) -> Sequence[Model]:
        """The rows of the page.

        Args:
            rows: of the list, in any order.
            request: for the links.
            time: the column that orders them, before their primary key.
            cursor: where the page begins; ``None`` at the first row.
            size: how many rows at most.
        """
        is_back = cursor is not None and cursor.is_back
        columns = [*([time] if time else []), "pk"]
        rows = rows.order_by(*columns) if is_back else rows.order_by(*(f"-{c}" for c in columns))
        if cursor is not None:
            rows = rows.filter(cursor.beyond(time))
        found = list(rows[: size + 1])
        is_more = len(found) > size
        page = found[:size][::-1] if is_back else found[:size]
        links: dict[str, str | None] = {"next": None, "previous": None}
        if page and (is_back or is_more):
            links["next"] = self._link(request, page[-1], time, is_back=False)
        if page and (is_more if is_back else cursor is not None):
            links["previous"] = self._link(request, page[0], time, is_back=True)
        self.page, self.links = page, links
        return page

    def get_paginated_response(self, data: Any) -> Response:
        """The answer with the page in it."""
        return Response({**self.links, "results": data})

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        """What the answer looks like."""
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {**link, "description": "Older rows; null if there are none."},
                "previous": {**link, "description": "Newer rows; null on the first page."},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """None: the queries name them."""
        del view
        return []

    @staticmethod
    def _link(request: Request, row: Any, time: str | None, *, is_back: bool) -> str:
        at = getattr(row, time) if time else None
        cursor = Cursor(is_back=is_back, id=row.pk, at=at)
        return replace_query_param(request.build_absolute_uri(), "cursor", cursor.written())
