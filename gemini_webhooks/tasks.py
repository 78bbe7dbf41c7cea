"""Celery tasks: shells. They take ids and may run twice without harm."""

from __future__ import annotations

import logging
from functools import partial

from celery import shared_task

from gemini_webhooks import processing, registration
from gemini_webhooks.conf import settings
from gemini_webhooks.dispatch import messages
from gemini_webhooks.exceptions import GeminiWebhooksError

logger = logging.getLogger(__name__)

# Late acknowledgement: a message whose worker died comes again. Claims in the database, not
# messages, decide who runs what, so a message that comes twice does nothing the second time.
_task = partial(shared_task, acks_late=True, reject_on_worker_lost=True, ignore_result=True)


@_task()
def dispatch(delivery_id: int) -> None:
    """Take a stored delivery into processing and start its runs."""
    messages.publish(processing.plan(delivery_id))


@_task()
def run_receiver(run_id: int) -> None:
    """Run one receiver of one delivery."""
    messages.publish(processing.run(run_id))


@_task()
def fetch_result(result_id: int) -> None:
    """Fetch one result file."""
    messages.publish(processing.fetch_result(result_id))


@_task()
def sweep(limit: int = 500, *, everything: bool = False) -> dict[str, int]:
    """Hand on what was lost on the way. Returns how much of each kind."""
    swept = processing.sweep(limit, everything=everything)
    messages.publish(swept.handoffs)
    counts = dict.fromkeys(messages.TASKS, 0)
    for handoff in swept.handoffs:
        counts[handoff.kind] += 1
    return {**counts, "settled": swept.settled}


@_task()
def sync_endpoints() -> None:
    """Compare the endpoints of every project with Google; differences are logged."""
    for name, key in settings.API_KEYS.items():
        if not key:
            continue
        try:
            report = registration.sync(name)
        except GeminiWebhooksError as error:
            logger.warning("endpoints of API key %s not compared: %s", name, error)
            continue
        for slug in report.switched_off:
            logger.error("Google switched off endpoint %s: its deliveries failed", slug)
        for drift in report.drift:
            logger.warning("endpoint %s differs at Google: %s", drift.slug, drift.field)
