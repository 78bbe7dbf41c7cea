"""The Celery app; web processes and workers both use it."""

from __future__ import annotations

import os

from celery import Celery

import gemini_webhooks
from example_project.config import files

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.config.settings")

files.use()
app = Celery("studio")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = {**gemini_webhooks.beat_schedule()}
app.autodiscover_tasks()
