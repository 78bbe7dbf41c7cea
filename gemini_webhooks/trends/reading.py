"""Figures of a period: those that are rolled up, and what came in since."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

from django.db.models import Case, IntegerField, Sum, Value, When
from django.utils import timezone

from gemini_webhooks import clock
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import Figure, RejectedRequest, RollUp
from gemini_webhooks.models import WebhookDelivery as Delivery
from gemini_webhooks.trends import counting
from gemini_webhooks.trends.counting import DELIVERIES, REJECTIONS, Name, Source
from gemini_webhooks.trends.histogram import Latency, latency

Period = Literal["1h", "24h", "7d", "30d"]
PERIODS: tuple[Period, ...] = get_args(Period)
#: So many rows that are not rolled up yet are counted by who looks, at most.
LIVE_ROWS = 50_000
#: Number of points, and how long each is. A point of a day begins at midnight.
POINTS: dict[Period, tuple[int, timedelta]] = {
    "1h": (12, timedelta(minutes=5)),
    "24h": (48, timedelta(minutes=30)),
    "7d": (28, timedelta(hours=6)),
    "30d": (30, timedelta(days=1)),
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One stretch of a period.

    Attributes:
        start: when it begins; it lasts until the next one.
        states: deliveries that were received then, by the state that they are in now. None is
            left out that is not 0.
        latency: of those that receivers were done with; ``None`` if there are none.
        rejections: requests that were refused then, by reason.
        unrecorded: how many more were refused of which no row was stored.
    """

    start: datetime
    states: dict[str, int] = field(default_factory=dict)
    latency: Latency | None = None
    rejections: dict[str, int] = field(default_factory=dict)
    unrecorded: int = 0


@dataclass(frozen=True, kw_only=True)
class Trends:
    """A period. Times are as the database has them: aware with ``USE_TZ``, else naive.

    Attributes:
        period: which one.
        until: the end of it: the time of now.
        points: from the oldest to the one that is not over yet.
        states, latency, rejections, unrecorded: as of a :class:`Point`, of all of the period.
        stale_since: from then on figures are incomplete, as more came in than is counted here,
            and the roll-up is behind; ``None`` if they are complete.
    """

    period: Period
    until: datetime
    points: tuple[Point, ...]
    states: dict[str, int]
    latency: Latency | None
    rejections: dict[str, int]
    unrecorded: int
    stale_since: datetime | None

    @property
    def since(self) -> datetime:
        """The beginning of the period."""
        return self.points[0].start

    @property
    def total(self) -> int:
        """How many deliveries were received."""
        return sum(self.states.values())


@dataclass(frozen=True, kw_only=True)
class Split:
    """What of a period is read from the figures, and what is counted.

    Attributes:
        rolled_up_until: figures before this are there; rows from here on are not in them.
        live_since: rows from here on are counted.
    """

    rolled_up_until: datetime
    live_since: datetime

    @property
    def stale_since(self) -> datetime | None:
        """From when on there is neither."""
        return self.rolled_up_until if self.live_since > self.rolled_up_until else None


def read(period: Period, *, now: datetime | None = None) -> Trends:
    """The figures of a period, whether or not they were rolled up.

    Args:
        period: one of ``PERIODS``. A point is five minutes, half an hour, six hours or a day long;
            the last one is not over yet, so the period is a little shorter than its name. Days are
            those of the current time zone.
        now: aware time of its end; the present time by default.

    Raises:
        ValueError: there is no such period.
        django.db.Error: the database did not answer.
    """
    if period not in PERIODS:
        raise ValueError(f"no such period: {period!r}")
    end = clock.now() if now is None else clock.for_database(now)
    starts = starts_of(period, end)
    found = _Found(starts)
    splits = [split(source, starts[0]) for source in (DELIVERIES, REJECTIONS)]
    for source, where in zip((DELIVERIES, REJECTIONS), splits, strict=True):
        found.add_rolled_up(source, where)
    found.add_deliveries(splits[0])
    found.add_rejections(splits[1])
    stale = [where.stale_since for where in splits if where.stale_since]
    return Trends(
        period=period,
        until=end,
        points=found.points(),
        states=dict(found.sum(Name.DONE) + found.sum(Name.OPEN)),
        latency=latency(_bins(found.sum(Name.LATENCY))),
        rejections=dict(found.sum(Name.REJECTED)),
        unrecorded=found.sum(Name.UNRECORDED)[""],
        stale_since=min(stale, default=None),
    )


def starts_of(period: Period, now: datetime) -> list[datetime]:
    """The beginnings of the points, the oldest first."""
    number, length = POINTS[period]
    local = now if timezone.is_naive(now) else timezone.localtime(now)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
    on_the_clock = local.replace(fold=0, tzinfo=None)
    last = on_the_clock - (on_the_clock - midnight) % length
    if timezone.is_naive(now):
        return [last - back * length for back in range(number - 1, -1, -1)]
    if length < timedelta(hours=1):
        # Not by the clock on the wall, which repeats an hour in autumn.
        last = now - (on_the_clock - last)
        return [last - back * length for back in range(number - 1, -1, -1)]
    return [timezone.make_aware(last - back * length) for back in range(number - 1, -1, -1)]


def split(source: Source, since: datetime) -> Split:
    """Up to where figures are used, and from where on rows of a source are counted."""
    until = rows(RollUp).filter(pk=source.name).values_list("until", flat=True).first()
    rolled_up = since if until is None else max(until, since)
    times = source.rows().filter(received_at__gte=rolled_up)
    newest = times.order_by("-received_at").values_list("received_at", flat=True)
    first = newest[LIVE_ROWS : LIVE_ROWS + 1].first()
    return Split(rolled_up_until=rolled_up, live_since=rolled_up if first is None else first)


class _Found:
    """Numbers by figure, point and label."""

    def __init__(self, starts: Sequence[datetime]) -> None:
        self._starts = starts
        self._numbers: dict[str, list[Counter[str]]] = defaultdict(
            lambda: [Counter() for _ in starts]
        )

    def add_rolled_up(self, source: Source, where: Split) -> None:
        names = set(source.names) - {Name.ARRIVED, Name.FAILED}
        figures = rows(Figure).filter(
            name__in=names, start__gte=self._starts[0], start__lt=where.rolled_up_until
        )
        grouped = figures.order_by().annotate(by=self._point("start"))
        summed = grouped.values_list("name", "by", "label").annotate(number=Sum("value"))
        for name, point, label, number in summed:
            self._numbers[name][point][label] += int(number)

    def add_deliveries(self, where: Split) -> None:
        came = rows(Delivery).filter(counting.between(where.live_since))
        for point, _, state, number in counting.by_state(came, self._point("received_at")):
            name = Name.OPEN if state in counting.OPEN else Name.DONE
            self._numbers[name][point][state] += number
        for point, number_of_bin, number in counting.by_bin(came, self._point("received_at")):
            self._numbers[Name.LATENCY][point][str(number_of_bin)] += number

    def add_rejections(self, where: Split) -> None:
        came = rows(RejectedRequest).filter(counting.between(where.live_since))
        for point, reason, number, unrecorded in counting.by_reason(
            came, self._point("received_at")
        ):
            self._numbers[Name.REJECTED][point][reason] += number
            self._numbers[Name.UNRECORDED][point][""] += unrecorded

    def sum(self, name: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for numbers in self._numbers[name]:
            total.update(numbers)
        return total

    def points(self) -> tuple[Point, ...]:
        return tuple(
            Point(
                start=start,
                states=dict(self._numbers[Name.DONE][at] + self._numbers[Name.OPEN][at]),
                latency=latency(_bins(self._numbers[Name.LATENCY][at])),
                rejections=dict(self._numbers[Name.REJECTED][at]),
                unrecorded=self._numbers[Name.UNRECORDED][at][""],
            )
            for at, start in enumerate(self._starts)
        )

    def _point(self, column: str) -> Case | Value:
        """Which point a time is in, in few comparisons."""

        def within(first: int, end: int) -> Case | Value:
            if end - first == 1:
                return Value(first, IntegerField())
            middle = (first + end) // 2
            earlier = {f"{column}__lt": self._starts[middle]}
            return Case(When(**earlier, then=within(first, middle)), default=within(middle, end))

        return within(0, len(self._starts))


def _bins(numbers: Counter[str]) -> dict[int, int]:
    return {int(label): number for label, number in numbers.items()}
