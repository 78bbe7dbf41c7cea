"""The test site as a worker has it: with receivers, and an app on the broker of the test."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery
from django.apps import apps

from gemini_webhooks import receivers
from tests.site.apps import SiteConfig

app = Celery("worker", broker=os.environ.get("WORKER_BROKER", "memory://"))
app.conf.update(
    task_default_queue=os.environ.get("WORKER_QUEUE", "celery"),
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)


class WorkerConfig(SiteConfig):
    name = "tests.site"

    def ready(self) -> None:
        receivers.on("batch.succeeded", name="flaky")(flaky)
        receivers.on("batch.failed", name="sound")(sound)
        receivers.on("batch.cancelled", name="routed", queue=os.environ.get("WORKER_OTHER_QUEUE"))(
            sound
        )
        receivers.on("batch.expired", name="slow")(slow)


def sound(event: Any, **_: Any) -> None:
    apps.get_model("tests_site", "Effect").objects.create(receiver="sound", webhook_id=event.id)


def slow(event: Any, **_: Any) -> None:
    """Say that it runs, and go on when told."""
    folder = Path(os.environ["WORKER_SIGNS"])
    (folder / "running").touch()
    while not (folder / "go on").exists():
        time.sleep(0.05)
    sound(event)


def flaky(event: Any, delivery: Any, **_: Any) -> None:
    """Write, then fail at the first attempt: only the second one's writes may be seen."""
    apps.get_model("tests_site", "Effect").objects.create(receiver="flaky", webhook_id=event.id)
    if not delivery.runs.get().attempt_log.exists():
        raise ValueError("the first time")
