"""Rolls deliveries and rejections up into figures, and keeps these true when states change later.

What was received in the last quarter of an hour is counted anew each time: the clocks of web
machines differ, and a request may be stored late. Further back, those buckets are counted anew in
which something was done since the last time, or of which other deliveries are open than were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections, transaction
from django.db.models import F

from gemini_webhooks import clock, deliveries
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import Figure, RollUp, WebhookDelivery
from gemini_webhooks.trends import buckets
from gemini_webhooks.trends.counting import (
    DELIVERIES,
    SOURCES,
    Counts,
    Name,
    Source,
    open_deliveries,
)

#: Rows that are counted in one transaction, give or take a bucket. SQLite has one writer.
STEP_ROWS, SQLITE_STEP_ROWS = 20_000, 2_000
#: What was received so recently may still be stored.
RECENT = timedelta(minutes=15)
#: What was done so long before the last time may have been committed only after it.
OVERLAP = timedelta(minutes=5)
#: Buckets that are counted anew in one call because other deliveries are open, at most.
MOST_REOPENED = 2_000
#: How long figures are kept.
KEEP = timedelta(days=400)
#: Rows of one statement: every SQLite takes so many.
MOST_ROWS = 250
#: The row that says up to when it is known what was done.
CHANGES = "changes"

Tell = Callable[[str, int], object]


@dataclass(frozen=True, kw_only=True)
class RolledUp:
    """What a call did.

    Attributes:
        steps: transactions in which something was counted.
        figures: how many were written, or removed.
        complete: whether it got through; ``False`` if the time ended it.
    """

    steps: int = 0
    figures: int = 0
    complete: bool = True


def roll_up(*, seconds: float | None = None, tell: Tell = lambda *_: None) -> RolledUp:
    """Count what came in or changed since the last time. Calls may run at once, or break off.

    Args:
        seconds: begin no further step after so long; the next call goes on from there.
        tell: called after each step with “figures” and how many have been written so far.

    Raises:
        django.db.Error: the database did not answer.
    """
    call = _Call(seconds, tell)
    call.run()
    return RolledUp(steps=call.steps, figures=call.figures, complete=call.complete)


def begin_again() -> None:
    """Have the next roll-up count everything anew that is still stored."""
    call = _Call(None, lambda *_: None)
    for source in SOURCES:
        rows(RollUp).filter(pk=source.name).update(until=call.first(source))


class _Call:
    """What one call may still do, and what it has done so far."""

    def __init__(self, seconds: float | None, tell: Tell) -> None:
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        self._tell = tell
        self._now = clock.now()
        self._closed = buckets.floor(self._now)
        self._recent = self._closed - RECENT
        self._oldest = buckets.floor(self._now - KEEP)
        is_sqlite = connections[deliveries.alias()].vendor == "sqlite"
        self._step_rows = SQLITE_STEP_ROWS if is_sqlite else STEP_ROWS
        self.steps = self.figures = 0
        self.complete = True

    def run(self) -> None:
        """First what was rolled up before, so that it is not taken for what is to be."""
        _begin(CHANGES, self._now)
        for source in SOURCES:
            _begin(source.name, self.first(source))
        self._within_half(self._follow_changes)
        for source in SOURCES:
            self._go_on(source)
        self._prune()

    def first(self, source: Source) -> datetime:
        """Where to begin if nothing was rolled up yet."""
        oldest = source.rows().order_by("received_at").values_list("received_at", flat=True).first()
        if oldest is None:
            return self._closed
        return min(max(buckets.floor(oldest), self._oldest), self._closed)

    def _has_time(self) -> bool:
        has_time = self._ends_at is None or time.monotonic() < self._ends_at
        self.complete = self.complete and has_time
        return has_time

    def _within_half(self, work: Callable[[], None]) -> None:
        """Do something in half of the time: what comes after it must have its turn."""
        end = self._ends_at
        if end is not None:
            self._ends_at = (time.monotonic() + end) / 2
        work()
        self._ends_at = end

    # what came in

    def _go_on(self, source: Source) -> None:
        position = min(_until(source.name), self._recent)
        while position < self._closed and self._has_time():
            position = self._step(source, position, self._closed)

    def _step(self, source: Source, since: datetime, until: datetime) -> datetime:
        """Count some buckets anew, from one on. Returns the first that is left."""
        with _holding(source.name):
            end = self._end(source, since, until)
            self.figures += _store(source, since, end, source.count(since, end))
            rows(RollUp).filter(pk=source.name, until__gte=since, until__lt=end).update(until=end)
        self.steps += 1
        self._tell("figures", self.figures)
        return end

    def _end(self, source: Source, since: datetime, until: datetime) -> datetime:
        """Up to where not much more is to be counted than one step should."""
        found = source.rows().filter(received_at__gte=since, received_at__lt=until)
        times = found.order_by("received_at").values_list("received_at", flat=True)
        beyond = times[self._step_rows : self._step_rows + 1].first()
        if beyond is None:
            return until
        return min(max(buckets.floor(beyond), since + buckets.LENGTH), until)

    # what changed

    def _follow_changes(self) -> None:
        before = min(_until(DELIVERIES.name), self._recent)
        dirty = self._reopened(before)
        since = _until(CHANGES) - OVERLAP
        while self._has_time():
            until = self._some_done(since)
            dirty |= _done_between(since, until, self._oldest, before)
            if not self._count_again(dirty):
                return
            rows(RollUp).filter(pk=CHANGES, until__lt=until).update(until=until)
            if until >= self._now:
                return
            dirty, since = set(), until

    def _count_again(self, dirty: set[datetime]) -> bool:
        """Count some buckets anew. ``False`` if there was not the time for all of them."""
        for first, end in buckets.ranges(dirty):
            position = first
            while position < end:
                if not self._has_time():
                    return False
                position = self._step(DELIVERIES, position, end)
        return True

    def _reopened(self, before: datetime) -> set[datetime]:
        """Buckets of which other deliveries are open than were: some were done, or replayed."""
        stored = rows(Figure).filter(name=Name.OPEN, start__gte=self._oldest, start__lt=before)
        known = {
            (Name.OPEN, start, label): value
            for start, label, value in stored.order_by().values_list("start", "label", "value")
        }
        differ = open_deliveries(self._oldest, before).items() ^ known.items()
        # The newest first, if there are too many for one call; the next one finds the others.
        return set(sorted({start for (_, start, _), _ in differ})[-MOST_REOPENED:])

    def _some_done(self, since: datetime) -> datetime:
        """Up to when not much more was done than one step should count."""
        done = rows(WebhookDelivery).filter(settled_at__gte=since, settled_at__lt=self._now)
        times = done.order_by("settled_at").values_list("settled_at", flat=True)
        beyond = times[self._step_rows : self._step_rows + 1].first()
        if beyond is None:
            return self._now
        # Beyond those that were done at the same moment.
        return beyond + timedelta(microseconds=1)

    # what is old

    def _prune(self) -> None:
        for source in SOURCES:
            for name in source.names:
                while self._has_time() and (removed := self._remove_some(source, name)):
                    self.figures += removed

    def _remove_some(self, source: Source, name: str) -> int:
        old = rows(Figure).filter(name=name, start__lt=self._oldest).order_by("start")
        with _holding(source.name):
            ids = list(old.values_list("pk", flat=True)[:MOST_ROWS])
            return rows(Figure).filter(pk__in=ids).delete()[0]


def _begin(name: str, until: datetime) -> None:
    rows(RollUp).bulk_create([RollUp(name=name, until=until)], ignore_conflicts=True)


def _until(name: str) -> datetime:
    return rows(RollUp).values_list("until", flat=True).get(pk=name)


@contextmanager
def _holding(name: str) -> Iterator[None]:
    """A transaction in which nobody else rolls the same up."""
    with transaction.atomic(using=deliveries.alias()):
        # A write, so that SQLite is not read before it is locked.
        rows(RollUp).filter(pk=name).update(until=F("until"))
        yield


def _done_between(
    since: datetime, until: datetime, oldest: datetime, before: datetime
) -> set[datetime]:
    """Buckets, before a moment, in which something was done meanwhile."""
    done = rows(WebhookDelivery).filter(settled_at__gte=since, settled_at__lt=until)
    done = done.filter(received_at__gte=oldest, received_at__lt=before).order_by()
    numbers = done.annotate(by=buckets.Number("received_at")).values_list("by", flat=True)
    return {buckets.start_of(number) for number in numbers.distinct()}


def _store(source: Source, since: datetime, until: datetime, counted: Counts) -> int:
    """Write what differs from what is stored. Returns how much did.

    A bucket of which rows were removed, by retention most likely, keeps its figures.
    """
    stored = rows(Figure).filter(name__in=source.names, start__gte=since, start__lt=until)
    known = {
        (name, start, label): (pk, value)
        for pk, name, start, label, value in stored.order_by().values_list(
            "pk", "name", "start", "label", "value"
        )
    }
    shrunk = _shrunk(source, {key: value for key, (_, value) in known.items()}, counted)

    def holds(key: tuple[str, datetime, str]) -> bool:
        return key[1] not in shrunk or key[0] in source.follows

    wrong = [pk for key, (pk, value) in known.items() if holds(key) and counted[key] != value]
    for part in _parts(wrong):
        rows(Figure).filter(pk__in=part).delete()
    new = [
        Figure(name=key[0], start=key[1], label=key[2], value=value)
        for key, value in counted.items()
        if holds(key) and (key not in known or known[key][1] != value)
    ]
    rows(Figure).bulk_create(new, batch_size=MOST_ROWS)
    return len(wrong) + len(new)


def _shrunk(
    source: Source, known: dict[tuple[str, datetime, str], int], counted: Counts
) -> set[datetime]:
    """Buckets in which less was counted than is stored."""
    balance: dict[datetime, int] = {}
    for sign, figures in ((-1, known), (1, counted)):
        for (name, start, _), value in figures.items():
            if name in source.total:
                balance[start] = balance.get(start, 0) + sign * value
    return {start for start, value in balance.items() if value < 0}


def _parts(ids: list[int]) -> Iterable[list[int]]:
    for first in range(0, len(ids), MOST_ROWS):
        yield ids[first : first + MOST_ROWS]
