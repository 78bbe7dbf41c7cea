"""How a job will end or has ended, and who is told of it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from gemini_webhooks.emulator.page.times import duration
from gemini_webhooks.emulator.plans import Outcome
from gemini_webhooks.emulator.resources import Batch, Job
from gemini_webhooks.emulator.state import Emulator

#: What a job will do, by its outcome.
WILL: dict[Outcome, str] = {
    "succeeded": "succeed",
    "failed": "fail",
    "expired": "expire",
    "cancelled": "be cancelled",
    "requires_action": "require action",
}


def course(job: Job) -> str:
    """How it will end, or how it ended, and after which time."""
    if not job.outcome:
        return f"will {WILL[_planned(job)]} after {job.plan.seconds:g} s"
    took = duration((job.updated - job.created).total_seconds())
    return f"{job.outcome.replace('requires_', 'required ')} after {took}"


def audience(emulator: Emulator, job: Job, told_of: Container[str]) -> str:
    """Who will be told of its end, or was.

    Args:
        emulator: has the registered webhooks.
        job: running or ended.
        told_of: ids of the jobs that there was an event of.
    """
    event_type = replace(job, outcome=job.outcome or _planned(job)).event_type
    if event_type is None:
        return "there is no event for that"
    if job.outcome and job.id not in told_of:
        return "nobody was told"
    if job.webhook_config.uris:
        return f"to {', '.join(job.webhook_config.uris)}"
    why_nobody = "" if job.outcome else _why_nobody(emulator, job.project, event_type)
    return f"to nobody: {why_nobody}" if why_nobody else "to registered webhooks"


def _planned(job: Job) -> Outcome:
    is_unreadable = isinstance(job, Batch) and job.requests is None
    return "failed" if is_unreadable else job.plan.outcome


def _why_nobody(emulator: Emulator, project: str, event_type: str) -> str:
    """Why no webhook would get an event of this type now; empty if one would."""
    registered = [webhook for webhook in emulator.webhooks if webhook.project == project]
    if not registered:
        return "no webhook is registered"
    enabled = [webhook for webhook in registered if webhook.receives]
    if not enabled:
        return "no webhook is enabled"
    if not any(event_type in webhook.subscribed_events for webhook in enabled):
        return f"no enabled webhook is subscribed to {event_type}"
    return ""
