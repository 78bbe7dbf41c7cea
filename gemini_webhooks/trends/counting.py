"""Counts what is stored, by buckets: in the database, however many rows there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum

from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import RejectedRequest
from gemini_webhooks.models import WebhookDelivery as Delivery
from gemini_webhooks.trends import buckets
from gemini_webhooks.trends.histogram import Bin

OPEN = (Delivery.State.RECEIVED, Delivery.State.PROCESSING)
#: No receiver runs for these, so their time until done says nothing.
WITHOUT_RECEIVERS = (Delivery.State.IGNORED, Delivery.State.UNREADABLE)
#: The label of the root endpoint, and of what came to an endpoint that was deleted since.
ROOT = "root"


class Name:
    """What is counted, with what its labels are."""

    DONE = "done"  # final states of deliveries
    OPEN = "open"  # states of deliveries that are not done
    LATENCY = "latency"  # bins of the time until done
    ARRIVED = "arrived"  # keys of endpoints
    FAILED = "failed"  # keys of endpoints at which what failed came in
    REJECTED = "rejected"  # reasons
    UNRECORDED = "unrecorded"  # none; rejections of which no row was stored


#: Figure, beginning of its bucket, label: how many.
Counts = Counter[tuple[str, datetime, str]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A table, and the figures that are made of it.

    Attributes:
        name: of the row that says up to when they are rolled up.
        model: has ``received_at``.
        names: all figures.
        total: each row is counted in one of these, so that their sum never falls, unless rows
            were removed.
        follows: of these, what is counted now holds even if rows were removed.
        count: counts from one moment to another.
    """

    name: str
    model: type[Delivery | RejectedRequest]
    names: tuple[str, ...]
    total: tuple[str, ...]
    follows: tuple[str, ...]
    count: Callable[[datetime, datetime], Counts]

    def rows(self) -> QuerySet[Any]:
        """All of the table, in no order."""
        found: QuerySet[Any] = rows(self.model).order_by()
        return found


def between(since: datetime, until: datetime | None = None) -> Q:
    """Received from one moment on, and before another."""
    within = Q(received_at__gte=since)
    if until is not None:
        within &= Q(received_at__lt=until)
    return within


def by_state(found: QuerySet[Delivery], by: Any) -> QuerySet[Any, Any]:
    """``(by, endpoint, state, number)`` of deliveries."""
    grouped = found.order_by().annotate(by=by).values_list("by", "endpoint_id", "state")
    return grouped.annotate(number=Count("*"))


def by_bin(found: QuerySet[Delivery], by: Any) -> QuerySet[Any, Any]:
    """``(by, bin, number)`` of deliveries that receivers were done with."""
    done = found.filter(took__isnull=False).exclude(state__in=WITHOUT_RECEIVERS)
    grouped = done.order_by().annotate(by=by, bin=Bin("took")).values_list("by", "bin")
    return grouped.annotate(number=Count("*"))


def by_reason(found: QuerySet[RejectedRequest], by: Any) -> QuerySet[Any, Any]:
    """``(by, reason, number, unrecorded)`` of rejections."""
    grouped = found.order_by().annotate(by=by).values_list("by", "reason")
    return grouped.annotate(number=Count("*"), unrecorded=Sum("suppressed"))


def open_deliveries(since: datetime, until: datetime) -> Counts:
    """Those that are not done, from an index alone."""
    found = rows(Delivery).filter(between(since, until), state__in=OPEN).order_by()
    grouped = found.annotate(by=buckets.Number("received_at")).values_list("by", "state")
    counted = grouped.annotate(number=Count("*"))
    return Counter(
        {(Name.OPEN, buckets.start_of(by), state): number for by, state, number in counted}
    )


def endpoint_label(pk: int | None) -> str:
    """The label of an endpoint."""
    return ROOT if pk is None else str(pk)


def _deliveries(since: datetime, until: datetime) -> Counts:
    found = rows(Delivery).filter(between(since, until))
    counts: Counts = Counter()
    for by, endpoint, state, number in by_state(found, buckets.Number("received_at")):
        start, label = buckets.start_of(by), endpoint_label(endpoint)
        counts[Name.OPEN if state in OPEN else Name.DONE, start, state] += number
        counts[Name.ARRIVED, start, label] += number
        if state == Delivery.State.FAILED:
            counts[Name.FAILED, start, label] += number
    for by, number_of_bin, number in by_bin(found, buckets.Number("received_at")):
        counts[Name.LATENCY, buckets.start_of(by), str(number_of_bin)] += number
    return counts


def _rejections(since: datetime, until: datetime) -> Counts:
    found = rows(RejectedRequest).filter(between(since, until))
    counts: Counts = Counter()
    for by, reason, number, unrecorded in by_reason(found, buckets.Number(F("received_at"))):
        start = buckets.start_of(by)
        counts[Name.REJECTED, start, reason] += number
        if unrecorded:
            counts[Name.UNRECORDED, start, ""] += unrecorded
    return counts


DELIVERIES = Source(
    name="deliveries",
    model=Delivery,
    names=(Name.DONE, Name.OPEN, Name.LATENCY, Name.ARRIVED, Name.FAILED),
    total=(Name.DONE, Name.OPEN),
    follows=(Name.OPEN,),
    count=_deliveries,
)
REJECTIONS = Source(
    name="rejections",
    model=RejectedRequest,
    names=(Name.REJECTED, Name.UNRECORDED),
    total=(Name.REJECTED,),
    follows=(),
    count=_rejections,
)
SOURCES = (DELIVERIES, REJECTIONS)
