"""Jobs start, end by themselves, or are cancelled; then their event is announced."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from gemini_webhooks.emulator.endings import finish
from gemini_webhooks.emulator.events import announce
from gemini_webhooks.emulator.resources import Job, now
from gemini_webhooks.emulator.state import Emulator


def start(emulator: Emulator, job: Job) -> None:
    """Begin a job; it ends by itself."""
    emulator.options.report(f"{job.kind} {job.id} started")
    emulator.touch()
    resume(emulator, job)


def resume(emulator: Emulator, job: Job) -> None:
    """Wait for the end of a job that has not ended; if its time is over, it ends now."""
    if job.outcome:
        return
    left = max(0.0, (job.ends_at - now()).total_seconds())
    job.task = emulator.scheduler.after(left, partial(_complete, emulator, job))


def finish_quietly(emulator: Emulator, job: Job) -> None:
    """End a job at once, for whoever waits for the answer: there is no event."""
    finish(emulator, job)
    emulator.touch()


def cancel(emulator: Emulator, job: Job) -> None:
    """End a running job now; one that has ended stays as it is."""
    if job.outcome:
        return
    if job.task is not None:
        emulator.scheduler.cancel(job.task)
    job.end("cancelled")
    _announce(emulator, job, {})


def finish_now(emulator: Emulator, job: Job) -> None:
    """Let a running job end now, as it is planned; one that has ended stays as it is."""
    if job.task is not None:
        emulator.scheduler.cancel(job.task)
    _complete(emulator, job)


def _complete(emulator: Emulator, job: Job) -> None:
    with emulator.lock:
        # It may have been cancelled between its time and the lock.
        if not job.outcome:
            _announce(emulator, job, finish(emulator, job))


def _announce(emulator: Emulator, job: Job, data: Mapping[str, Any]) -> None:
    emulator.options.report(f"{job.kind} {job.id} {job.outcome}")
    emulator.touch()
    event_type = job.event_type
    if event_type is not None:
        announce(emulator, job, event_type, {"id": job.id, **data})
