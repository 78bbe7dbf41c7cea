"""Which Celery app the site has. Noted while Django starts, so it imports nothing else."""

from __future__ import annotations

from celery import Celery
from celery.app import app_or_default

_remembered: list[Celery] = []


def remember() -> None:
    """Note the site's Celery app. Called in the main thread, when Django is ready.

    Celery keeps the current app per thread. In any other thread, such as a web server's, shared
    tasks belong to a fallback app that knows nothing of the site's broker.
    """
    _remembered[:] = [app_or_default()]


def site_app() -> Celery:
    """The Celery app to publish with: this thread's own, or the one that the site has."""
    app: Celery = app_or_default()
    is_fallback = app.main == "default"
    return _remembered[0] if is_fallback and _remembered else app
