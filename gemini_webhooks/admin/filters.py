"""Filters that answer from what is known instead of scanning a large table."""

# ruff: noqa: ARG002, D102  # Django names these methods and their arguments

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.models import WebhookEndpoint

Choices = list[tuple[str, Any]]
Rows = QuerySet[Any]


class KnownChoiceFilter(admin.SimpleListFilter):
    """A filter that refuses a value which it does not offer, as Django's own filters do."""

    def choose(self, rows: Rows, value: str) -> Rows:
        """Narrow ``rows`` to the choice ``value``."""
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        value = self.value()
        if value is None:
            return queryset
        if value not in dict(self.lookup_choices):
            raise IncorrectLookupParameters
        return self.choose(queryset, value)


class EventTypeFilter(KnownChoiceFilter):
    """Google's catalogue, and the rest; asking the table for its types would read all of it."""

    title = _("event type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        known = [(name, name) for name in CATALOGUE]
        return [*known, ("other", _("Another type")), ("none", _("None given"))]

    def choose(self, rows: Rows, value: str) -> Rows:
        if value == "none":
            return rows.filter(event_type="")
        if value == "other":
            return rows.exclude(event_type__in=["", *CATALOGUE])
        return rows.filter(event_type=value)


class EndpointFilter(KnownChoiceFilter):
    """One registered endpoint, or the root endpoint, which has no row of its own."""

    title = _("endpoint")
    parameter_name = "at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        endpoints = WebhookEndpoint.objects.values_list("pk", "slug")
        registered = [(str(pk), slug) for pk, slug in endpoints]
        return [("root", _("Root endpoint")), *registered]

    def choose(self, rows: Rows, value: str) -> Rows:
        return rows.filter(endpoint=None if value == "root" else value)
