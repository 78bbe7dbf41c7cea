"""Watches in the database what becomes of a delivery."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gemini_webhooks import clock
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery

POLL_SECONDS = 0.2
#: A delivery that was accepted is in the database by then, if it ever comes there.
APPEARS_WITHIN_SECONDS = 3.0

ENDED = (
    WebhookDelivery.State.PROCESSED,
    WebhookDelivery.State.FAILED,
    WebhookDelivery.State.IGNORED,
    WebhookDelivery.State.UNREADABLE,
)
UNFETCHED = (ResultFile.State.PENDING, ResultFile.State.FETCHING, ResultFile.State.RETRYING)


@dataclass(frozen=True, kw_only=True)
class Followed:
    """How far a delivery came.

    Attributes:
        state: of the delivery; empty if it is not in this database.
        ended: nothing is open any more.
        event_type: of the delivery; empty if it is not in this database.
        runs: ``receiver``, ``state``, ``attempts``, ``last_error``, ``held`` of each, and the
            ``next_attempt_at`` of those that failed before: an aware time.
        results: ``source``, ``state``, ``rows``, ``error``, ``next_attempt_at`` of each result
            file.
    """

    state: str
    ended: bool
    event_type: str = ""
    runs: tuple[dict[str, Any], ...] = ()
    results: tuple[dict[str, Any], ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether it ended well: it had a receiver, and none is dead."""
        return self.ended and self.state == WebhookDelivery.State.PROCESSED

    @property
    def untouched(self) -> bool:
        """Whether nothing was attempted at all, though nothing holds it."""
        waits = all(each["state"] == "pending" for each in (*self.runs, *self.results))
        return waits and not any(run["held"] for run in self.runs)

    @property
    def next_attempt(self) -> str:
        """When the next retry is, such as ``in 14 s``; empty if none is to come."""
        given = (each["next_attempt_at"] for each in (*self.runs, *self.results))
        return _from_now(min(filter(None, given), default=None))


def follow(webhook_id: str, *, timeout: float, tell: Callable[[str], None]) -> Followed:
    """Watch a delivery until all that it started has ended.

    Args:
        webhook_id: whose.
        timeout: seconds after which it is given up.
        tell: called with a line for each change.

    Raises:
        django.db.Error: the database did not answer.
    """
    begun = time.monotonic()
    told: dict[str, object] = {}
    while True:
        now = _look(webhook_id)
        for subject, standing, words in _words(now):
            if told.get(subject) != standing:
                told[subject] = standing
                tell(f"{subject}: {words}")
        waited = time.monotonic() - begun
        patience = timeout if now.state else min(timeout, APPEARS_WITHIN_SECONDS)
        if now.ended or waited >= patience:
            return now
        time.sleep(POLL_SECONDS)


def _look(webhook_id: str) -> Followed:
    found = rows(WebhookDelivery).filter(webhook_id=webhook_id)
    # Its state first: what it had started is there then.
    delivery = found.only("pk", "state", "event_type").first()
    if delivery is None:
        return Followed(state="", ended=False)
    runs = rows(ReceiverRun).filter(delivery=delivery).order_by("pk")
    results = rows(ResultFile).filter(delivery=delivery).order_by("position")
    open_results = any(result.state in UNFETCHED for result in results)
    return Followed(
        state=delivery.state,
        ended=delivery.state in ENDED and not open_results,
        event_type=delivery.event_type,
        runs=tuple(
            {
                "receiver": run.receiver,
                "state": str(run.state),
                "attempts": run.attempts,
                "last_error": run.last_error,
                "held": run.held_at is not None,
                "next_attempt_at": _retry_at(run),
            }
            for run in runs
        ),
        results=tuple(
            {
                "source": result.source_uri,
                "state": str(result.state),
                "rows": int(result.rows),
                "error": result.error,
                "next_attempt_at": _retry_at(result),
            }
            for result in results
        ),
    )


def _retry_at(row: ReceiverRun | ResultFile) -> datetime | None:
    if row.state != "retrying" or row.next_attempt_at is None:
        return None
    return clock.aware(row.next_attempt_at)


def _words(now: Followed) -> Iterator[tuple[str, object, str]]:
    """Of what, what makes a new line of it, and the words: those change while it waits."""
    for result in now.results:
        yield f"result {result['source']}", result, _line(result["state"], result, "error")
    for run in now.runs:
        words = f"{run['state']}, attempt {run['attempts']}" if run["attempts"] else run["state"]
        held = " (held by a pause)" if run["held"] else ""
        yield run["receiver"], run, _line(f"{words}{held}", run, "last_error")
    if now.state:
        yield "delivery", now.state, now.state


def _line(words: str, each: dict[str, Any], error: str) -> str:
    if when := _from_now(each["next_attempt_at"]):
        words = f"{words}, again {when}"
    return f"{words}: {each[error]}" if each[error] else words


def _from_now(moment: datetime | None) -> str:
    if moment is None:
        return ""
    seconds = math.ceil((moment - datetime.now(UTC)).total_seconds())
    return f"in {seconds} s" if seconds > 0 else "now"
