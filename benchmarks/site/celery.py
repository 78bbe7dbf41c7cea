"""The Celery app, and the empty task of those who hand each request on."""

from __future__ import annotations

import time

from celery import Celery
from django.db import connection

from benchmarks.site.tables import INSERT

app = Celery("benchmarks")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.task(name="benchmarks.handle")
def handle(webhook_id: str) -> None:
    """What N publishes."""


@app.task(name="benchmarks.insert", acks_late=True)
def insert(webhook_id: str) -> None:
    """The bare task: one INSERT."""
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [webhook_id, "batch.succeeded", b"{}"])


@app.task(name="benchmarks.arrived")
def arrived(webhook_id: str, came_at: float) -> None:
    """Notes how long after the request it runs, in seconds."""
    seconds = time.time() - came_at
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [webhook_id, "N", str(seconds).encode()])
