"""One pass over the jobs that are due, and over the batches that Google lists."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gemini_webhooks import deliveries, gateway, logs
from gemini_webhooks.deliveries import rows
from gemini_webhooks.events import bare_id
from gemini_webhooks.exceptions import ConfigurationError, GatewayError
from gemini_webhooks.gateway import RemoteJob
from gemini_webhooks.models import Job
from gemini_webhooks.reconcile import ledger
from gemini_webhooks.reconcile.asking import api_keys, ask, end_of

logger = logs.get_logger(__name__)

#: No new job is begun after so many seconds: a task must end before its broker gives it up.
PASS_SECONDS = 300.0
#: Batches that ended before that are not discovered.
DISCOVER_SINCE = timedelta(hours=48)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a pass found. Jobs are named by their resource ids.

    Attributes:
        checked: how many jobs Google was asked about.
        found: no event had told of their end: it was stored as one would have been.
        known: their event had come.
        running: they have not ended.
        lost: their end cannot be found out any more.
        failed: Google could not be asked about them, and why; they are asked about again.
        discovered: batches that were not in the ledger.
        left: how many jobs are still due.
    """

    checked: int
    found: tuple[str, ...]
    known: tuple[str, ...]
    running: tuple[str, ...]
    lost: tuple[str, ...]
    failed: tuple[str, ...]
    discovered: tuple[str, ...]
    left: int


def reconcile(
    limit: int = 100,
    *,
    discover: bool = False,
    api_key_name: str | None = None,
    since: timedelta = DISCOVER_SINCE,
) -> Report:
    """Ask Google about jobs that are due, and process the end of those that have ended.

    What it finds is stored as the event would have been, and handed to the workers. An event that
    comes after all is a duplicate of that. Any number of passes may run at the same time.

    Args:
        limit: how many jobs to ask about, and how many batches to discover, at most.
        discover: list the batches at Google too, and take in those that are not in the ledger
            and have sent no event; it is overdue a day after their end. They may be those of
            another site with the same key.
        api_key_name: one of ``API_KEYS``; all of them by default.
        since: batches that ended longer ago are not discovered.

    Raises:
        ConfigurationError: there is no such API key.
        django.db.Error: the database did not answer.
    """
    one_pass = _Pass(limit)
    keys = api_keys(api_key_name)
    one_pass.ask_about_due(api_key_name)
    for name in keys if discover else ():
        one_pass.discover(name, since)
    return one_pass.report(left=ledger.due(api_key_name).count())


class _Pass:
    """What one pass may still do, and what it has found so far."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ends_at = time.monotonic() + PASS_SECONDS
        self._checked = 0
        self._entries: defaultdict[str, list[str]] = defaultdict(list)

    def ask_about_due(self, api_key_name: str | None) -> None:
        """Ask about jobs, the longest overdue first."""
        for job in ledger.due(api_key_name).order_by("due_at")[: self._limit]:
            if self._is_over():
                return
            if ledger.claim(job):
                self._ask(job)

    def discover(self, api_key_name: str, since: timedelta) -> None:
        """Take in batches that nobody entered; those whose event is overdue are processed."""
        now = datetime.now(UTC)
        try:
            for batch in _unknown(api_key_name):
                if self._is_over() or len(self._entries["discovered"]) >= self._limit:
                    return
                has_ended = end_of(Job.Kind.BATCH, batch) is not None
                ended_at = (batch.changed_at or now) if has_ended else None
                if ended_at and ended_at < now - since:
                    continue
                job = ledger.enter(batch, api_key_name, ended_at=ended_at)
                if job is None:
                    continue
                logger.warning("batch %s was not in the ledger", job.resource_id)
                self._entries["discovered"].append(job.resource_id)
                if ledger.claim(job):
                    self._ask(job)
        except (GatewayError, ConfigurationError) as error:
            logger.warning("batches of API key %s not listed: %s", api_key_name, error)
            self._entries["failed"].append(f"API key {api_key_name}: {error}")

    def report(self, *, left: int) -> Report:
        """All of it."""
        entries = {name: tuple(found) for name, found in self._entries.items()}
        return Report(
            checked=self._checked,
            found=entries.get("found", ()),
            known=entries.get("known", ()),
            running=entries.get("running", ()),
            lost=entries.get("lost", ()),
            failed=entries.get("failed", ()),
            discovered=entries.get("discovered", ()),
            left=left,
        )

    def _is_over(self) -> bool:
        return time.monotonic() >= self._ends_at

    def _ask(self, job: Job) -> None:
        self._checked += 1
        answer = ask(job)
        if answer.outcome == "lost":
            logger.error("job %s is lost: %s", job.resource_id, answer.reason)
        reason = f": {answer.reason}" if answer.reason else ""
        self._entries[answer.outcome].append(f"{job.resource_id}{reason}")


def _unknown(api_key_name: str) -> Iterator[RemoteJob]:
    """Batches at Google that are not in the ledger, and of which no event has come."""
    for batch in gateway.list_batches(api_key_name=api_key_name):
        tracked = rows(Job).filter(resource_id=bare_id(batch.name)).exists()
        if batch.name and not tracked and not deliveries.about(batch.name).exists():
            yield batch
