"""The Celery app of web processes, workers and beat."""

from __future__ import annotations

import os

from celery import Celery

import gemini_webhooks

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chaos.site.settings")

#: What a sweep hands on of each kind, and what is the least for one in a run.
SWEPT, LEAST_SWEPT = 500, 50

app = Celery("chaos")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def schedule(scale: float) -> dict[str, object]:
    """The app's own schedule, in the run's time scale.

    A sweep that comes ten times as often hands on a tenth each time: otherwise it would fill the
    queues with ten times as many messages for what only waits for its turn.
    """
    entries: dict[str, object] = {}
    for name, entry in gemini_webhooks.beat_schedule().items():
        limited = {"kwargs": {"limit": max(LEAST_SWEPT, round(SWEPT * scale))}}
        sweep = limited if entry["task"].endswith(".sweep") else {}
        entries[name] = {**entry, **sweep, "schedule": entry["schedule"] * scale}
    return entries
