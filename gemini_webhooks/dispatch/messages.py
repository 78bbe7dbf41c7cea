"""Messages to Celery: which task does what, in which app, and how they are sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Celery
from celery.app import app_or_default
from kombu.exceptions import OperationalError

from gemini_webhooks.exceptions import BrokerUnavailable
from gemini_webhooks.processing import Handoff

#: Names of the tasks in ``gemini_webhooks.tasks``.
TASKS = {
    "delivery": "gemini_webhooks.tasks.dispatch",
    "run": "gemini_webhooks.tasks.run_receiver",
    "result": "gemini_webhooks.tasks.fetch_result",
}

#: What is due later than this is left to the sweeper: a broker takes a message that a worker
#: holds back for long for lost (RabbitMQ after 30 minutes), and gives it to another one.
MAX_COUNTDOWN_SECONDS = 900

_remembered: list[Celery] = []


def remember_app() -> None:
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


def publish(handoffs: Iterable[Handoff], *, app: Celery | None = None, retry: bool = True) -> None:
    """Send a message for each that is due soon.

    Args:
        handoffs: what is to be done next.
        app: the Celery app; :func:`site_app` by default.
        retry: try again, as Celery's ``task_publish_retry_policy`` says, if the broker is down.

    Raises:
        BrokerUnavailable: the sweeper repeats it later.
    """
    tasks = (app or site_app()).tasks
    try:
        for handoff in handoffs:
            if handoff.delay > MAX_COUNTDOWN_SECONDS:
                continue
            options: dict[str, Any] = {"queue": handoff.queue, "countdown": handoff.delay or None}
            tasks[TASKS[handoff.kind]].apply_async((handoff.id,), retry=retry, **options)
    except OperationalError as error:
        raise BrokerUnavailable(
            f"Celery's broker does not take messages ({type(error).__name__}); "
            "`manage.py gemini_webhooks drain` works without it"
        ) from None
