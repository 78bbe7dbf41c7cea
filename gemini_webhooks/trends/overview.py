"""What is broken now: receivers that fail, what waits, how endpoints and results are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Max, QuerySet, Sum, Value

from gemini_webhooks import clock
from gemini_webhooks.deliveries import rows
from gemini_webhooks.deliveries.erasing import ERASED_CLASS
from gemini_webhooks.models import (
    Figure,
    Pause,
    ReceiverRun,
    RejectedRequest,
    ResultFile,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.trends import counting
from gemini_webhooks.trends.counting import DELIVERIES, Name
from gemini_webhooks.trends.reading import Period, split, starts_of
from gemini_webhooks.trends.waiting import CEILING

#: So many of each kind are told of; the worst, or the newest.
MOST = 20
#: More endpoints than this are not looked at.
MOST_ENDPOINTS = 500


@dataclass(frozen=True, kw_only=True)
class FailingReceiver:
    """A receiver of which runs ended dead within the period.

    Attributes:
        receiver: stable name.
        dead: how many runs are.
        last_at: when the last of them ended.
    """

    receiver: str
    dead: int
    last_at: datetime


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The oldest delivery that is not done, whatever it waits for."""

    delivery_id: int
    webhook_id: str
    state: str
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class EndpointHealth:
    """How an endpoint is.

    Attributes:
        slug: empty for the root endpoint, which has no row.
        endpoint_id: primary key; ``None`` for the root endpoint. What came to endpoints that were
            deleted since counts there.
        state: of ``WebhookEndpoint.State``; empty for the root endpoint.
        last_delivery_at: ``None`` if there was none, or for the root endpoint.
        deliveries, failed: received within the period, and how many of these failed.
        rejected: requests refused there within the period, of which rows are stored.
    """

    slug: str
    endpoint_id: int | None
    state: str
    last_delivery_at: datetime | None
    deliveries: int = 0
    failed: int = 0
    rejected: int = 0

    @property
    def is_switched_off(self) -> bool:
        """Google delivers nothing any more."""
        return self.state == WebhookEndpoint.State.DISABLED_BY_GOOGLE


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """A result file on its way; ``size`` is ``None`` until it is known."""

    result_id: int
    source_uri: str
    bytes_done: int
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """Result files in flight.

    Attributes:
        waiting: to be fetched, now or again later; at most 10,000 are counted.
        fetching: how many are on their way.
        fetches: some of these, the ones that began last first.
        failed: how many were given up within the period.
    """

    waiting: int
    fetching: int
    fetches: tuple[Fetch, ...]
    failed: int


@dataclass(frozen=True, kw_only=True)
class Paused:
    """A pause that is in force, or whose runs are still being let go."""

    pause_id: int
    what: str
    paused_at: datetime
    paused_by: str
    is_resumed: bool


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All of it; see there."""

    failing: tuple[FailingReceiver, ...] = field(default=())
    oldest: Waiting | None = None
    endpoints: tuple[EndpointHealth, ...] = field(default=())
    results: Results
    paused: tuple[Paused, ...] = field(default=())


def overview(period: Period) -> Overview:
    """How things stand, and what went wrong within a period.

    Raises:
        django.db.Error: the database did not answer.
    """
    return Overview(
        failing=failing(period),
        oldest=oldest_waiting(),
        endpoints=endpoints(period),
        results=results(period),
        paused=paused(),
    )


def failing(period: Period) -> tuple[FailingReceiver, ...]:
    """Receivers that gave up within the period, those that did most often first."""
    dead = rows(ReceiverRun).filter(state=ReceiverRun.State.DEAD, finished_at__gte=_since(period))
    found = dead.exclude(error_class=ERASED_CLASS).order_by().values("receiver")
    counted = found.annotate(dead=Count("*"), last_at=Max("finished_at"))
    return tuple(
        FailingReceiver(**values) for values in counted.order_by("-dead", "receiver")[:MOST]
    )


def oldest_waiting() -> Waiting | None:
    """The delivery that is not done and was received first."""
    firsts = [
        rows(WebhookDelivery)
        .filter(state=state)
        .only("webhook_id", "state", "received_at")
        .order_by("received_at")
        .first()
        for state in counting.OPEN
    ]
    found = min(filter(None, firsts), key=lambda one: one.received_at, default=None)
    if found is None:
        return None
    return Waiting(
        delivery_id=found.pk,
        webhook_id=found.webhook_id,
        state=found.state,
        received_at=found.received_at,
    )


def endpoints(period: Period) -> tuple[EndpointHealth, ...]:
    """All endpoints; those that are switched off first, then those at which something failed.

    The root endpoint is among them if something came in there.
    """
    arrived, failed = _by_endpoint(period)
    refused = _refused(period)
    found = [
        EndpointHealth(
            slug=endpoint.slug,
            endpoint_id=endpoint.pk,
            state=endpoint.state,
            last_delivery_at=endpoint.last_delivery_at,
            deliveries=arrived.pop(str(endpoint.pk), 0),
            failed=failed.pop(str(endpoint.pk), 0),
            rejected=refused[endpoint.slug],
        )
        for endpoint in rows(WebhookEndpoint).order_by("slug")[:MOST_ENDPOINTS]
    ]
    root = EndpointHealth(
        slug="",
        endpoint_id=None,
        state="",
        last_delivery_at=None,
        deliveries=arrived[counting.ROOT],
        failed=failed[counting.ROOT],
        rejected=refused[""],
    )
    if root.deliveries or root.rejected:
        found.insert(0, root)
    return tuple(sorted(found, key=lambda one: (not one.is_switched_off, -one.failed)))


def results(period: Period) -> Results:
    """Result files that are to be fetched, are fetched now, or were given up."""
    files, states = rows(ResultFile), ResultFile.State
    running = files.filter(state=states.FETCHING)
    newest = running.order_by("-pk").values_list("pk", "source_uri", "bytes_done", "size")[:MOST]
    given_up = files.filter(state=states.FAILED, finished_at__gte=_since(period))
    return Results(
        waiting=_count(files.filter(state__in=(states.PENDING, states.RETRYING))),
        fetching=_count(running),
        fetches=tuple(
            Fetch(result_id=pk, source_uri=uri, bytes_done=done, size=size)
            for pk, uri, done, size in newest
        ),
        failed=_count(given_up),
    )


def paused() -> tuple[Paused, ...]:
    """What is paused, the newest first."""
    found = rows(Pause).filter(ended_at=None).select_related("endpoint").order_by("-pk")[:MOST]
    return tuple(
        Paused(
            pause_id=pause.pk,
            what=str(pause),
            paused_at=pause.paused_at,
            paused_by=pause.paused_by,
            is_resumed=pause.resumed_at is not None,
        )
        for pause in found
    )


def _since(period: Period) -> datetime:
    return starts_of(period, clock.now())[0]


def _by_endpoint(period: Period) -> tuple[Counter[str], Counter[str]]:
    """How many deliveries came in, and failed, by the label of the endpoint."""
    since = _since(period)
    where = split(DELIVERIES, since)
    figures = rows(Figure).filter(
        name__in=(Name.ARRIVED, Name.FAILED), start__gte=since, start__lt=where.rolled_up_until
    )
    arrived: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    grouped = figures.order_by().values_list("name", "label")
    for name, label, number in grouped.annotate(number=Sum("value")):
        (arrived if name == Name.ARRIVED else failed)[label] += int(number)
    came = rows(WebhookDelivery).filter(counting.between(where.live_since))
    for _, endpoint, state, number in counting.by_state(came, Value(0)):
        label = counting.endpoint_label(endpoint)
        arrived[label] += number
        if state == WebhookDelivery.State.FAILED:
            failed[label] += number
    return arrived, failed


def _refused(period: Period) -> Counter[str]:
    """Rejections by slug; the table is kept small."""
    found = rows(RejectedRequest).filter(received_at__gte=_since(period)).order_by()
    return Counter(dict(found.values_list("endpoint_slug").annotate(number=Count("*"))))


def _count(found: QuerySet[ResultFile]) -> int:
    counted: int = found.order_by().values("state")[:CEILING].count()
    return counted
