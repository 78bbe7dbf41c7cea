"""What a pass reads from the ledger of jobs, and writes to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db.models import QuerySet

from gemini_webhooks import clock, events, jobs
from gemini_webhooks.deliveries import rows
from gemini_webhooks.gateway import RemoteJob
from gemini_webhooks.models import Job

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
    """Take a due job for this pass; ``False`` if another pass was faster.

    A pass that dies leaves it to the next one after :data:`SHORTEST_PAUSE`.
    """
    mine = rows(Job).filter(pk=job.pk, state__in=OPEN, due_at=job.due_at)
    return bool(mine.update(due_at=_after(SHORTEST_PAUSE), checked_at=clock.now()))


def wait(job: Job, remote: RemoteJob) -> bool:
    """It has not ended: ask again later. ``False`` if that took too long, and it is lost."""
    if _age(job) > GIVE_UP_AFTER:
        lose(job, f"still {remote.state} after {_age(job).days} days")
        return False
    _open(job).update(last_error="", due_at=_after(_pause(job)))
    return True


def fail(job: Job, reason: str, *, soon: bool) -> bool:
    """Google could not be asked: try again, ``soon`` if that may help; else as :func:`wait`."""
    if _age(job) > GIVE_UP_AFTER:
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


def enter(batch: RemoteJob, api_key_name: str) -> Job:
    """Enter a batch that nobody entered when it was submitted."""
    now = datetime.now(UTC)
    created = batch.created_at or now
    job = jobs.track(
        batch.name,
        api_key_name=api_key_name,
        due_at=max(created + jobs.DUE_AFTER, now + SHORTEST_PAUSE),
    )
    job.submitted_at = clock.for_database(created)
    job.save(update_fields=["submitted_at"])
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
