"""Does what is handed on, one thing after the other, until what is left has to wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from gemini_webhooks import deliveries, processing
from gemini_webhooks.models import ResultFile
from gemini_webhooks.processing import Handoff
from gemini_webhooks.testing.files import GivenFiles

__tracebackhide__ = True  # as in gemini.py

WORK: dict[str, Callable[[int], list[Handoff]]] = {
    "delivery": processing.plan,
    "run": processing.run,
    "result": processing.fetch_result,
    "replay": processing.advance,
}


def do(handoffs: Iterable[Handoff], given: GivenFiles) -> None:
    """Do each thing once, and what follows from it; retries are left for later.

    Args:
        handoffs: where to begin.
        given: the result files that a test gave; others are left alone.
    """
    waiting = deque(handoffs)
    done: set[Handoff] = set()
    while waiting:
        item = waiting.popleft()
        if item in done or item.delay > 0 or not _can_be_done(item, given):
            continue
        if item.kind != "replay":  # its next step looks the same
            done.add(item)
        waiting += WORK[item.kind](item.id)


def _can_be_done(item: Handoff, given: GivenFiles) -> bool:
    if item.kind != "result":
        return True
    results = deliveries.rows(ResultFile).filter(pk=item.id)
    return any(uri in given for uri in results.values_list("source_uri", flat=True))
