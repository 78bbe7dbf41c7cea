"""Breaks the promises on purpose: an experiment that cannot fail would show nothing."""

from __future__ import annotations

import zlib
from typing import Any

from gemini_webhooks import deliveries, ingest
from gemini_webhooks.processing import planning
from gemini_webhooks.receivers import Receiver


def apply() -> None:
    """Make the app lose, double and get stuck with some of the events."""
    ingest.deliveries.record = _forgetful(deliveries.record)  # type: ignore[attr-defined]  # by design
    planning.deliveries.start = _idle(deliveries.start)  # type: ignore[attr-defined]  # by design
    Receiver.atomic = property(lambda _: False)  # type: ignore[assignment,method-assign]  # by design


def _is_hit(webhook_id: str, which: int) -> bool:
    return zlib.crc32(webhook_id.encode()) % 7 == which


def _forgetful(record: Any) -> Any:
    def answer_without_storing(verified: Any, event: Any, **arguments: Any) -> Any:
        if _is_hit(verified.webhook_id, 0):
            return deliveries.Recorded(delivery_id=-1, created=True)
        return record(verified, event, **arguments)

    return answer_without_storing


def _idle(start: Any) -> Any:
    def never_start(delivery: Any, *arguments: Any) -> Any:
        return not _is_hit(delivery.webhook_id, 1) and start(delivery, *arguments)

    return never_start
