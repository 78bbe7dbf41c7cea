"""What all addresses have in common.

Of what the site has set as default only this is used: who is logged in (authentication), how
answers are written (renderers), and its throttles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from django.db import connections, transaction
from django.db.models import Model, QuerySet
from django.http.response import HttpResponseBase
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet, ViewSetMixin

from gemini_webhooks import deliveries
from gemini_webhooks.api import errors, fields, queries
from gemini_webhooks.api.caching import private
from gemini_webhooks.api.paging import Pages
from gemini_webhooks.api.parsers import JSONOnly
from gemini_webhooks.api.permissions import SEES_PAYLOADS, HasNeeded
from gemini_webhooks.api.schema import Operation, Schema
from gemini_webhooks.api.throttling import ReadThrottle, Throttle, throttled

QueryType = TypeVar("QueryType", bound=queries.Query)


class Address(ViewSetMixin, APIView):
    """What is true of every address.

    Attributes:
        needs: permissions that every request needs.
        needs_besides: and those that some actions do.
        throttle: how often one may ask.
        throttles: for some actions, how often instead.
        operations: what the schema says about each action.
    """

    needs: ClassVar[Sequence[str]]
    needs_besides: ClassVar[Mapping[str, Sequence[str]]] = {}
    throttle: ClassVar[type[Throttle]] = ReadThrottle
    throttles: ClassVar[Mapping[str, type[Throttle]]] = {}

    permission_classes = (HasNeeded,)
    parser_classes = (JSONOnly,)
    metadata_class = None
    versioning_class = None
    schema = Schema()
    basename: str
    operations: ClassVar[Mapping[str, Operation]]

    @classmethod
    def as_view(cls, *args: Any, **options: Any) -> Any:
        """The view, outside of ``ATOMIC_REQUESTS``: use-cases have transactions of their own."""
        view: Callable[..., HttpResponseBase] = super().as_view(*args, **options)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def needed(self) -> list[str]:
        """The permissions that the request needs."""
        return [*self.needs, *self.needs_besides.get(self.action or "", ())]

    def get_throttles(self) -> list[BaseThrottle]:
        """Ours, and those of the site."""
        return throttled(self.throttles.get(self.action or "", self.throttle))

    def get_exception_handler(self) -> Any:
        """Ours."""
        return errors.handle

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Tell caches to keep off."""
        return private(super().finalize_response(request, response, *args, **kwargs))

    def sees_payloads(self) -> bool:
        """Whether the user may see payloads, metadata and rows of results."""
        return bool(self.request.user.has_perm(SEES_PAYLOADS))

    def read(self, query_class: type[QueryType]) -> QueryType:
        """The parameters of the request.

        Raises:
            ValidationError: one is not as it should be.
        """
        query = query_class(data=self.request.query_params, context={"view": self})
        query.is_valid(raise_exception=True)
        return query


class Resource(Address, GenericViewSet[Any]):
    """Rows of one table.

    Attributes:
        model: the table.
        related: what is read along with each row.
        deferred: large columns, which nothing but a detail needs.
        detailed: of these, what a detail needs.
        query_class: what the list may be asked for.
        detail_serializer_class: for one row; ``None``: as in the list.
    """

    model: ClassVar[type[Model]]
    related: ClassVar[Sequence[str]] = ()
    deferred: ClassVar[Sequence[str]] = ()
    detailed: ClassVar[Sequence[str]] = ()
    query_class: ClassVar[type[queries.ListQuery]]
    detail_serializer_class: ClassVar[type[Any] | None] = None

    pagination_class = Pages
    filter_backends = ()
    lookup_value_regex = "[^/]+"

    def get_queryset(self) -> QuerySet[Any]:
        """All rows, in the database that is written to: a replica may be behind."""
        return deliveries.rows(self.model)

    def with_related(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """``rows``, with what is read along."""
        return rows.select_related(*self.related) if self.related else rows

    def get_serializer_class(self) -> Any:
        """The one for a row alone, or for a row in a list."""
        in_list = self.serializer_class
        return in_list if self.action == "list" else self.detail_serializer_class or in_list

    def get_object(self) -> Any:
        """The row that the address names.

        Raises:
            NotFound: there is none.
        """
        named = str(self.kwargs["pk"])
        if not fields.WHOLE.fullmatch(named) or int(named) > fields.MAX_ID:
            raise NotFound
        deferred = [column for column in self.deferred if column not in self.detailed]
        row = self.with_related(self.get_queryset().defer(*deferred)).filter(pk=int(named)).first()
        if row is None:
            raise NotFound
        return row


class Lists(Resource):
    """Has a list."""

    def list(self, request: Request) -> Response:
        """A page of it."""
        query = self.read(self.query_class)
        rows = self.with_related(query.narrow(self.get_queryset()))
        return self.page_of(request, rows.defer(*self.deferred), query)

    def page_of(
        self,
        request: Request,
        rows: QuerySet[Any],
        query: queries.ListQuery,
        serializer_class: Any = None,
    ) -> Response:
        """The page of ``rows`` that ``query`` asks for."""
        pages = Pages()
        page = pages.cut(
            rows, request=request, time=query.time, cursor=query.begins, size=query.size
        )
        written = (serializer_class or self.get_serializer_class())(
            page, many=True, context=self.get_serializer_context()
        )
        return pages.get_paginated_response(written.data)


class ListsAndShows(Lists):
    """Has a list, and an address for each row."""

    def retrieve(self, request: Request, pk: str) -> Response:
        """One row."""
        del request, pk
        self.read(queries.Query)
        return Response(self.get_serializer(self.get_object()).data)
