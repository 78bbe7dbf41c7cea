"""Keeps a record of refused requests; capped, so that a flood cannot fill the table.

Those that are put off with 503 count among them: repeated often enough, they make Google give up.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from django.db import Error as DatabaseTrouble
from django.db.models import QuerySet

from gemini_webhooks import clock, logs, signals
from gemini_webhooks.deliveries import rows
from gemini_webhooks.exceptions import Rejected, Undecided
from gemini_webhooks.models import RejectedRequest, WebhookDelivery
from gemini_webhooks.storable import storable_text
from gemini_webhooks.verification import IncomingRequest, safe_headers

logger = logs.get_logger(__name__)

#: Rows that one process writes in one window at most, for one reason and in all; further requests
#: are only counted.
ROWS_PER_REASON, ROWS_PER_WINDOW = 60, 240
WINDOW_SECONDS = 60.0
#: The table never holds many more rows than this.
MAX_ROWS = 10_000
TRIM_EVERY = 100


@dataclass
class Quota:
    """Says which rejections are recorded, and counts the others.

    Each reason has rows of its own: a flood of forgeries does not hide what is refused for another.
    """

    started: float = float("-inf")
    taken: Counter[str] = field(default_factory=Counter)
    suppressed: int = 0
    since_trim: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, reason: str) -> int | None:
        """``None``: do not record this one. Otherwise how many were not, since the last."""
        with self.lock:
            if time.monotonic() - self.started >= WINDOW_SECONDS:
                self.started = time.monotonic()
                self.taken.clear()
            is_full = self.taken.total() >= ROWS_PER_WINDOW
            if is_full or self.taken[reason] >= ROWS_PER_REASON:
                self.suppressed += 1
                return None
            self.taken[reason] += 1
            self.since_trim += 1
            suppressed, self.suppressed = self.suppressed, 0
            return suppressed

    def trim_is_due(self) -> bool:
        """Whether it is time to look at the size of the table."""
        with self.lock:
            if self.since_trim < TRIM_EVERY:
                return False
            self.since_trim = 0
            return True


quota = Quota()


def record(
    request: IncomingRequest, slug: str, refusal: Rejected | Undecided, suppressed: int
) -> None:
    """Store a rejection and send ``request_rejected``. A database that is down is no obstacle."""
    try:
        row = rows(RejectedRequest).create(
            reason=refusal.code,
            status=refusal.status,
            diagnosis=storable_text(refusal.diagnosis, 2000),
            endpoint_slug=storable_text(slug, 100),
            headers=safe_headers(request),
            body_digest=sha256(request.body).hexdigest() if request.body else "",
            body_size=len(request.body),
            received_at=clock.for_database(request.received_at),
            suppressed=suppressed,
        )
        if quota.trim_is_due():
            _trim()
    except DatabaseTrouble as error:
        logger.warning("rejection %s not recorded: %s", refusal.code, type(error).__name__)
        return
    signals.request_rejected.send_robust(
        sender=WebhookDelivery, event=None, delivery=None, rejection=row, code=row.reason
    )


def received(before: datetime) -> QuerySet[RejectedRequest]:
    """What was refused before a moment."""
    return rows(RejectedRequest).filter(received_at__lt=before)


def _trim() -> None:
    newest_first = rows(RejectedRequest).order_by("-pk")
    oldest_kept = newest_first.values_list("pk", flat=True)[MAX_ROWS - 1 : MAX_ROWS].first()
    if oldest_kept is not None:
        newest_first.filter(pk__lt=oldest_kept).delete()
