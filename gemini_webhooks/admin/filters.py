"""Filters that answer from what is known, or by an index, instead of scanning a large table."""

# ruff: noqa: ARG002, D102  # Django names these methods and their arguments

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.admin.searching import values
from gemini_webhooks.deliveries import spellings
from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery, WebhookEndpoint

Choices = list[tuple[str, Any]]
Rows = QuerySet[Any]

HOUR, DAY = 3600, 86_400


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
        if value != "other":
            return rows.filter(event_type=value)
        stored = values(WebhookDelivery, "event_type")
        if stored is None:
            return rows.exclude(event_type__in=["", *CATALOGUE])
        return rows.filter(event_type__in=[name for name in stored if name not in CATALOGUE])


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


class ReceivedFilter(KnownChoiceFilter):
    """The newest ones, to the second and not by calendar days."""

    title = _("received")
    parameter_name = "received"
    seconds = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 30 * DAY}

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [
            ("hour", _("In the last hour")),
            ("day", _("In the last 24 hours")),
            ("week", _("In the last 7 days")),
            ("month", _("In the last 30 days")),
        ]

    def choose(self, rows: Rows, value: str) -> Rows:
        return rows.filter(received_at__gte=clock.after(-self.seconds[value]))


class FailuresFilter(KnownChoiceFilter):
    """What went wrong with a delivery, and is not mended yet."""

    title = _("failures")
    parameter_name = "failures"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [
            ("dead", _("A receiver gave up")),
            ("retrying", _("A receiver is to be tried again")),
            ("result", _("A result file could not be fetched")),
        ]

    def choose(self, rows: Rows, value: str) -> Rows:
        failed: QuerySet[Any] = ReceiverRun.objects.filter(state=value)
        if value == "result":
            failed = ResultFile.objects.filter(state=ResultFile.State.FAILED)
        return rows.filter(pk__in=failed.order_by().values("delivery"))


class DuplicatesFilter(KnownChoiceFilter):
    """Whether an event came once."""

    title = _("duplicates")
    parameter_name = "duplicates"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("yes", _("Came more than once")), ("no", _("Came once"))]

    def choose(self, rows: Rows, value: str) -> Rows:
        return rows.filter(Q(duplicate_count__gt=0) if value == "yes" else Q(duplicate_count=0))


class ResourceFilter(admin.SimpleListFilter):
    """All about one resource; pages link to it, and it is not offered otherwise."""

    title = _("resource")
    parameter_name = "resource"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        value = self.value()
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        value = self.value()
        return queryset.filter(resource_id__in=spellings(value)) if value else queryset
