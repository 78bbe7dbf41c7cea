"""Watches in the database what becomes of a delivery."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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
        runs: ``receiver``, ``state``, ``attempts``, ``last_error`` of each.
        results: ``source``, ``state``, ``rows``, ``error`` of each result file.
    """

    state: str
    ended: bool
    runs: tuple[dict[str, Any], ...] = ()
    results: tuple[dict[str, Any], ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether it ended well: no receiver is dead, and it could be read."""
        good = (WebhookDelivery.State.PROCESSED, WebhookDelivery.State.IGNORED)
        return self.ended and self.state in good


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
    told: dict[str, str] = {}
    while True:
        now = _look(webhook_id)
        for subject, words in _words(now):
            if told.get(subject) != words:
                told[subject] = words
                tell(f"{subject}: {words}")
        waited = time.monotonic() - begun
        patience = timeout if now.state else min(timeout, APPEARS_WITHIN_SECONDS)
        if now.ended or waited >= patience:
            return now
        time.sleep(POLL_SECONDS)


def _look(webhook_id: str) -> Followed:
    found = rows(WebhookDelivery).filter(webhook_id=webhook_id)
    # Its state first: what it had started is there then.
    delivery = found.only("pk", "state").first()
    if delivery is None:
        return Followed(state="", ended=False)
    runs = rows(ReceiverRun).filter(delivery=delivery).order_by("pk")
    results = rows(ResultFile).filter(delivery=delivery).order_by("position")
    open_results = any(result.state in UNFETCHED for result in results)
    return Followed(
        state=delivery.state,
        ended=delivery.state in ENDED and not open_results,
        runs=tuple(
            {
                "receiver": run.receiver,
                "state": str(run.state),
                "attempts": run.attempts,
                "last_error": run.last_error,
                "held": run.held_at is not None,
            }
            for run in runs
        ),
        results=tuple(
            {
                "source": result.source_uri,
                "state": str(result.state),
                "rows": int(result.rows),
                "error": result.error,
            }
            for result in results
        ),
    )


def _words(now: Followed) -> Iterator[tuple[str, str]]:
    for result in now.results:
        yield f"result {result['source']}", _with(result["state"], result["error"])
    for run in now.runs:
        words = f"{run['state']}, attempt {run['attempts']}" if run["attempts"] else run["state"]
        held = " (held by a pause)" if run["held"] else ""
        yield run["receiver"], _with(f"{words}{held}", run["last_error"])
    if now.state:
        yield "delivery", now.state


def _with(words: str, error: str) -> str:
    return f"{words}: {error}" if error else words
