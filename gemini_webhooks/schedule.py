"""What Celery beat has to run for this app."""

from __future__ import annotations

from typing import TypedDict


class BeatEntry(TypedDict):
    """One entry of Celery's ``beat_schedule``; ``schedule`` is in seconds."""

    task: str
    schedule: float


def beat_schedule() -> dict[str, BeatEntry]:
    """Return the entries for Celery's ``beat_schedule``.

    ``app.conf.beat_schedule = {**gemini_webhooks.beat_schedule(), ...}``
    """
    return {
        "gemini-webhooks-sweep": {"task": "gemini_webhooks.tasks.sweep", "schedule": 30.0},
        "gemini-webhooks-reconcile": {
            "task": "gemini_webhooks.tasks.reconcile",
            "schedule": 600.0,
        },
        "gemini-webhooks-prune": {"task": "gemini_webhooks.tasks.prune", "schedule": 3600.0},
        "gemini-webhooks-tell-failures": {
            "task": "gemini_webhooks.tasks.tell_failures",
            "schedule": 60.0,
        },
        "gemini-webhooks-roll-up": {"task": "gemini_webhooks.tasks.roll_up", "schedule": 60.0},
        "gemini-webhooks-sync-endpoints": {
            "task": "gemini_webhooks.tasks.sync_endpoints",
            "schedule": 3600.0,
        },
    }
