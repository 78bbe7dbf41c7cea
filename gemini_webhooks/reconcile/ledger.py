"""What a pass reads from the ledger of jobs, and writes to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from gemini_webhooks import clock, events, jobs
from gemini_webhooks.deliveries import rows
from gemini_webhooks.gateway import RemoteJob
from gemini_webhooks.models import Job, WebhookEndpoint

#: Google is asked again after half of the time that the job has been running, within these limits.
SHORTEST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=6)
#: A job that has not ended by then is lost: no kind of job runs so long.
GIVE_UP_AFTER = timedelta(days=30)

#: The event for the end of these is still owed.
OPEN = (Job.State.SUBMITTED, Job.State.REQUIRES_ACTION)
MAX_ERROR_LENGTH = 1000


def due(api_key_name: str | None) -> QuerySet[Job]:
    """Jobs that should have ended, as far as this site knows; of one API key, or of all."""
    jobs_due = rows(Job).filter(state__in=OPEN, due_at__lte=clock.now())
    return jobs_due if api_key_name is None else jobs_due.filter(api_key_name=api_key_name)


def claim(job: Job) -> bool:
    """Take a due job for this pass; ``False`` if it is not due, or another pass was faster.

    A pass that dies leaves it to the next one after :data:`SHORTEST_PAUSE`.
    """
    mine = due(None).filter(pk=job.pk, due_at=job.due_at)
    return bool(mine.update(due_at=_after(SHORTEST_PAUSE), checked_at=clock.now()))


def wait(job: Job, remote: RemoteJob) -> bool:
    """It has not ended: ask again later. ``False`` if that took too long, and it is lost."""
    if _age(job) > GIVE_UP_AFTER:
        lose(job, f"still {remote.state} after {_age(job).days} days")
        return False
    _open(job).update(last_error="", due_at=_after(_pause(job)))
    return True


def fail(job: Job, reason: str, *, soon: bool) -> bool:
    """Google could not be asked: try again, ``soon`` if that may help; else as :func:`wait`.

    What may pass says nothing about the job, however old it is: the site may have been down.
    """
    if not soon and _age(job) > GIVE_UP_AFTER:
        lose(job, reason)
        return False
    pause = SHORTEST_PAUSE if soon else _pause(job)
    _open(job).update(last_error=reason[:MAX_ERROR_LENGTH], due_at=_after(pause))
    return True


def lose(job: Job, reason: str) -> None:
    """Its end cannot be found out any more; should its event come, that settles it."""
    _open(job).update(state=Job.State.LOST, last_error=reason[:MAX_ERROR_LENGTH])


def settle(job: Job, event_type: str, delivery_id: int) -> None:
    """It has ended, and ``delivery_id`` says so."""
    state = events.job_state(event_type)
    _open(job).update(state=state, delivery_id=delivery_id, last_error="")


def enter(batch: RemoteJob, api_key_name: str, *, ended_at: datetime | None) -> Job | None:
    """Enter a batch that nobody entered; ``None`` if the site did so at this very moment.

    Args:
        batch: what Google lists.
        api_key_name: the key in ``API_KEYS`` that lists it.
        ended_at: aware time of its end, ``None`` while it runs. For a day Google goes on trying to
            deliver the event, which knows more than the list: only then is it overdue.
    """
    now = datetime.now(UTC)
    created = batch.created_at or now
    if ended_at is None:
        due_at = max(created + jobs.DUE_AFTER, now + SHORTEST_PAUSE)
    else:
        due_at = ended_at + jobs.DUE_AFTER
    return take_in(batch.name, Job.Kind.BATCH, api_key_name, submitted_at=created, due_at=due_at)


def take_in(
    name: str,
    kind: str,
    api_key_name: str,
    *,
    submitted_at: datetime,
    due_at: datetime,
    user_metadata: Mapping[str, Any] | None = None,
    endpoint: WebhookEndpoint | None = None,
) -> Job | None:
    """Enter a job that somebody else started; ``None`` if it is in the ledger already.

    Args:
        name: ``batches/…``, ``…/operations/…``, or the id of an interaction.
        kind: one of ``Job.Kind``.
        api_key_name: the key in ``API_KEYS`` that knows it.
        submitted_at: aware time.
        due_at: aware time.
        user_metadata: fit to be stored.
        endpoint: where its event would have come.
    """
    job, is_new = rows(Job).get_or_create(
        resource_id=events.bare_id(name),
        defaults={
            "kind": kind,
            "name": name,
            "api_key_name": api_key_name,
            "submitted_at": clock.for_database(submitted_at),
            "due_at": clock.for_database(due_at),
            "user_metadata": dict(user_metadata or {}),
            "endpoint": endpoint,
        },
    )
    if not is_new:
        return None
    jobs.settle_from_the_past(job)
    return job


def _open(job: Job) -> QuerySet[Job]:
    """The row, unless its event came meanwhile."""
    return rows(Job).filter(pk=job.pk, state__in=OPEN)


def _age(job: Job) -> timedelta:
    return clock.now() - job.submitted_at


def _pause(job: Job) -> timedelta:
    return min(max(_age(job) / 2, SHORTEST_PAUSE), LONGEST_PAUSE)


def _after(pause: timedelta) -> datetime:
    return clock.after(pause.total_seconds())
