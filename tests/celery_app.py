"""The Celery app of the test site; messages stay in memory until a test takes them."""

from __future__ import annotations

from celery import Celery

app = Celery("tests", broker="memory://", set_as_current=True)
app.conf.task_ignore_result = True
