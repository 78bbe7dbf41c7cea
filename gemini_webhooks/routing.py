"""Where a run goes: its Celery queue, and the lane whose limit it obeys."""

from __future__ import annotations

from typing import Any

from django.utils.module_loading import import_string

from gemini_webhooks import logs
from gemini_webhooks.conf import settings
from gemini_webhooks.events import Event
from gemini_webhooks.receivers import Lane, Receiver

logger = logs.get_logger(__name__)


def queue_for(event: Event, receiver: Receiver) -> str | None:
    """The Celery queue for a run: what ``QUEUE_ROUTER`` says, else what the receiver asks for."""
    routed = _ask("QUEUE_ROUTER", event, receiver)
    return str(routed) if routed else receiver.queue


def lane_for(event: Event, receiver: Receiver) -> Lane | None:
    """The lane for a run: what ``LANE_ROUTER`` says, else what the receiver asks for.

    ``None``: no limit.
    """
    routed = _ask("LANE_ROUTER", event, receiver)
    if isinstance(routed, Lane):
        return routed
    if routed is not None:
        logger.error(
            "LANE_ROUTER returned %s for %s of %s: return a Lane or None",
            type(routed).__name__,
            receiver.name,
            event.id,
        )
    return receiver.lane(event)


def _ask(setting: str, event: Event, receiver: Receiver) -> Any:
    """What a router of the site's says; ``None`` if there is none.

    One that fails is logged and passed over: a wrong name must not stop a delivery.
    """
    path = getattr(settings, setting)
    if not path:
        return None
    try:
        return import_string(path)(event, receiver.name)
    except Exception as error:  # noqa: BLE001  # a site's own code may raise anything
        logger.error(  # noqa: TRY400  # its text and frames may hold the payload
            "%s failed for %s of %s: %s", setting, receiver.name, event.id, type(error).__name__
        )
        return None
