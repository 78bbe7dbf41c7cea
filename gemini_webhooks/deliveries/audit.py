"""Attempts: written once, when they ended, and never changed."""

from __future__ import annotations

import traceback

from django.db.models import OuterRef, Subquery

from gemini_webhooks import clock
from gemini_webhooks.deliveries.common import alias, rows
from gemini_webhooks.deliveries.inserting import insert
from gemini_webhooks.models import Attempt, ReceiverRun
from gemini_webhooks.storable import storable_text

MAX_TRACEBACK_LENGTH = 32_768
MAX_SUMMARY_LENGTH = 2000
MAX_CLASS_LENGTH = 255


def last_number() -> Subquery:
    """For a query of runs: the number of the last attempt, ``None`` before the first one."""
    attempts = rows(Attempt).filter(run=OuterRef("pk"))
    return Subquery(attempts.order_by("-number").values("number")[:1])


def log(run: ReceiverRun, number: int, outcome: str, *, error: BaseException | None = None) -> None:
    """Add the row of an attempt that has just ended."""
    values = {
        "run_id": run.pk,
        "number": number,
        "trigger": run.trigger,
        "actor": run.actor,
        "started": run.claimed_at or clock.now(),
        "finished": clock.now(),
        "outcome": outcome,
        "error_class": class_name(error) if error else "",
        "traceback": _traceback(error) if error else "",
    }
    insert(Attempt, values, alias())


def class_name(error: BaseException) -> str:
    """The dotted name of its class; a built-in one has no module before it."""
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    return storable_text(name, MAX_CLASS_LENGTH)


def summary(error: BaseException) -> str:
    """One line about ``error``; one whose own ``__str__`` fails is no obstacle."""
    lines = traceback.format_exception_only(error)
    return storable_text(lines[-1].strip(), MAX_SUMMARY_LENGTH)


def _traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    return storable_text(text[-MAX_TRACEBACK_LENGTH:], MAX_TRACEBACK_LENGTH)
