"""One pass over everything that grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import QuerySet

from gemini_webhooks import rejections
from gemini_webhooks.deliveries import dead_letters, removal, replays
from gemini_webhooks.deliveries.removal import Place
from gemini_webhooks.models import Job, RejectedRequest, Replay, TokenUse
from gemini_webhooks.results import removal as result_files
from gemini_webhooks.retention import periods
from gemini_webhooks.retention.pace import Pace, patiently

Tell = Callable[[str, int], object]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What a pass removed, or would remove.

    Attributes:
        results: result files.
        deliveries: whole deliveries, with runs, attempts and results.
        payloads: bodies of other deliveries, with metadata, errors and tracebacks.
        jobs: ended jobs of the ledger whose delivery is gone.
        replays: ended replays of whose deliveries none is left.
        tokens: records of the use of tokens that have expired.
        rejections: rejected requests.
        lanes: limits that no receiver asks for any more.
        failed: result files that the storage did not delete; the log says why.
        held: deliveries that rows of the site's own tables protect.
        complete: whether it got through; ``False`` if the limit or the time ended it.
    """

    results: int = 0
    deliveries: int = 0
    payloads: int = 0
    jobs: int = 0
    replays: int = 0
    tokens: int = 0
    rejections: int = 0
    lanes: int = 0
    failed: int = 0
    held: int = 0
    complete: bool = True


def prune(
    *, limit: int | None = None, seconds: float | None = None, tell: Tell = lambda *_: None
) -> Pruned:
    """Remove what is older than ``RETENTION_DAYS`` says, in small batches, resting in between.

    What is not finished stays, however old. Passes may run at the same time, and be interrupted.

    Args:
        limit: how much of each kind at most.
        seconds: begin no further batch after so long.
        tell: called after each batch with the kind and how much of it is done.

    Raises:
        ConfigurationError: ``RETENTION_DAYS`` cannot be used; nothing was removed.
        django.db.Error: the database did not answer.
    """
    one_pass = _Pass(periods.current(), limit, seconds, tell)
    one_pass.run()
    return one_pass.report()


def count() -> Pruned:
    """What :func:`prune` would remove now; nothing is changed.

    Raises:
        ConfigurationError, django.db.Error: as for :func:`prune`.
    """
    before = periods.current()
    counts: dict[str, int] = {}
    if before.results:
        counts["results"] = result_files.unread(result_files.stored(before.results)).count()
    if before.deliveries:
        old = removal.finished(removal.received(before.deliveries))
        old = removal.without_file(old, gone_before=before.results)
        counts["deliveries"] = old.count()
        counts["jobs"] = sum(
            removal.ended_jobs(state, before.deliveries, gone=old).count()
            for state in removal.ENDED_JOBS
        )
        counts["replays"] = replays.ended(before.deliveries, gone=old).count()
    if before.payloads:
        full = removal.finished(removal.with_content(before.payloads))
        counts["payloads"] = full.count()
        if before.deliveries:  # they take theirs along
            gone = old.filter(emptied_at=None, received_at__lt=before.payloads)
            counts["payloads"] -= gone.count()
    counts["tokens"] = removal.ended_tokens(before.tokens, _earlier(before)).count()
    if before.rejections:
        counts["rejections"] = rejections.received(before.rejections).count()
    counts["lanes"] = removal.unused_lanes(before.lanes).count()
    return Pruned(**counts, complete=True)


def _earlier(before: periods.Periods) -> datetime | None:
    return before.deliveries and min(before.deliveries, before.tokens)


class _Pass:
    """What one pass may still do, and what it has done so far."""

    def __init__(
        self, before: periods.Periods, limit: int | None, seconds: float | None, tell: Tell
    ) -> None:
        self._before = before
        self._limit = limit
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        self._tell = tell
        self._counts: dict[str, int] = {}
        self._complete = True

    def run(self) -> None:
        """Files before the rows that know their names; rows before contents that go with them."""
        before = self._before
        if before.results:
            files = result_files.stored(before.results)
            self._walk("results", files, "finished_at", self._remove_files)
        if before.deliveries:
            old = removal.received(before.deliveries)
            self._walk("deliveries", old, "received_at", self._delete)
        if before.payloads:
            full = removal.with_content(before.payloads)
            self._walk("payloads", full, "received_at", removal.empty)
            self._empty_lost_jobs(before.payloads)
        if before.deliveries:
            for state in removal.ENDED_JOBS:
                ended = removal.ended_jobs(state, before.deliveries)
                self._walk("jobs", ended, "due_at", partial(removal.delete_rows, Job))
            over = replays.ended(before.deliveries)
            self._walk("replays", over, "finished_at", partial(removal.delete_rows, Replay))
        tokens = removal.ended_tokens(before.tokens, _earlier(before))
        self._walk("tokens", tokens, "used_at", partial(removal.delete_rows, TokenUse))
        if before.rejections:
            refused = rejections.received(before.rejections)
            forget = partial(removal.delete_rows, RejectedRequest)
            self._walk("rejections", refused, "received_at", forget)
        patiently(removal.date_lanes)
        close = partial(removal.delete_lanes, before=before.lanes)
        self._walk("lanes", removal.unused_lanes(before.lanes), "used_at", close)
        patiently(dead_letters.forget_empty)

    def report(self) -> Pruned:
        """All of it."""
        return Pruned(**self._counts, complete=self._complete)

    def _walk(
        self, kind: str, found: QuerySet[Any], column: str, act: Callable[[Sequence[Any]], int]
    ) -> None:
        """Go through ``found`` once, from the oldest on, and act upon batches of ids."""
        pace = Pace()
        after: Place | None = None
        while True:
            size = self._room(kind, pace.size)
            started = time.monotonic()
            places = patiently(partial(removal.page, found, column, after, size or 1))
            if not places:
                return
            if not size:
                self._complete = False
                return
            ids = [place.pk for place in places]
            self._add(kind, patiently(partial(act, ids)))
            after = places[-1]
            pace.took(time.monotonic() - started)

    def _room(self, kind: str, size: int) -> int:
        """How many rows the next batch may have; none once time or limit are used up."""
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            return 0
        if self._limit is None:
            return size
        return max(0, min(size, self._limit - self._counts.get(kind, 0)))

    def _add(self, kind: str, number: int) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + number
        if number:
            self._tell(kind, self._counts[kind])

    def _remove_files(self, ids: Sequence[int]) -> int:
        own = result_files.unread(result_files.stored_among(ids))
        removed = [result_files.remove(result) for result in own]
        self._add("failed", removed.count(False))
        return removed.count(True)

    def _delete(self, ids: Sequence[int]) -> int:
        deleted, held = removal.delete(ids)
        self._add("held", held)
        return deleted

    def _empty_lost_jobs(self, before: datetime) -> None:
        lost = removal.lost_jobs_with_content(before).values_list("pk", flat=True)
        patiently(lambda: removal.empty_jobs(list(lost[: removal.MOST_IDS])))
