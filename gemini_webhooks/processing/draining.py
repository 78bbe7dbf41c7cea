"""Processes straight from the database, without any broker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from django.db import Error as DatabaseTrouble
from django.db import close_old_connections

from gemini_webhooks import logs
from gemini_webhooks.processing.fetching import fetch_result
from gemini_webhooks.processing.handoffs import Handoff
from gemini_webhooks.processing.planning import plan
from gemini_webhooks.processing.replaying import advance
from gemini_webhooks.processing.running import run
from gemini_webhooks.processing.sweeping import sweep

logger = logs.get_logger(__name__)

#: How many things a process that drains for ever does before it looks at all of them again.
ROUND = 100


@dataclass(frozen=True, kw_only=True)
class Drained:
    """What :func:`drain` did, counted; of bulk replays the steps."""

    deliveries: int = 0
    runs: int = 0
    results: int = 0
    replays: int = 0

    def plus(self, more: Drained) -> Drained:
        """Both counts together."""
        return Drained(
            deliveries=self.deliveries + more.deliveries,
            runs=self.runs + more.runs,
            results=self.results + more.results,
            replays=self.replays + more.replays,
        )


def drain(limit: int | None = None, *, stop: Callable[[], bool] = lambda: False) -> Drained:
    """Process from the database until nothing is due, without any broker.

    Several processes may do so at once: who fails to claim a thing goes on to the next.

    Args:
        limit: end after so many deliveries, runs, results and steps of replays together.
        stop: asked before each; ``True`` ends it.
    """
    work: dict[str, Callable[[int], list[Handoff]]] = {
        "delivery": plan,
        "run": run,
        "result": fetch_result,
        "replay": advance,
    }
    done: Counter[str] = Counter()
    seen: set[Handoff] = set()
    while limit is None or done.total() < limit:
        left = 100 if limit is None else min(100, limit - done.total())
        # What asked to be run again at once has had its turn.
        swept = sweep(left, everything=True).handoffs
        # What pauses let go at a rate is due in its turn.
        found = [item for item in swept if item not in seen and not item.delay]
        if not found or stop():
            break
        for item in found[:left]:
            if stop():
                break
            # A replay comes back with its next step, until it is not due any more.
            if item.kind != "replay":
                seen.add(item)
            try:
                next_ones = work[item.kind](item.id)
            except Exception as error:  # noqa: BLE001  # one bad row must not stop the others
                logger.error(  # noqa: TRY400  # a database error's text may quote the row
                    "%s %s not done: %s", item.kind, item.id, type(error).__name__
                )
                done["failed"] += 1
            else:
                done[item.kind] += 1
                # Who was let in to its lane has its turn, though it may have come too early before.
                seen.difference_update(other for other in next_ones if other != item)
    return Drained(
        deliveries=done["delivery"],
        runs=done["run"],
        results=done["result"],
        replays=done["replay"],
    )


def drain_forever(stop: threading.Event, *, poll_seconds: float = 1.0) -> Drained:
    """Process from the database until ``stop`` is set; what was begun is ended.

    A database that is away is waited for.

    Args:
        stop: set it, from a signal handler for instance, to end.
        poll_seconds: how long to wait before looking again when nothing was due.
    """
    total = Drained()
    is_away = False
    while not stop.is_set():
        close_old_connections()
        try:
            # In rounds: what wants another turn gets it in the next one, however much comes in.
            done = drain(ROUND, stop=stop.is_set)
        except DatabaseTrouble as error:
            if not is_away:
                logger.error(  # noqa: TRY400  # its text may quote rows
                    "the database does not answer, or lacks its tables (`manage.py migrate`): %s. "
                    "Waiting for it.",
                    type(error).__name__,
                )
            is_away, done = True, Drained()
        else:
            is_away = False
        total = total.plus(done)
        if done == Drained():
            stop.wait(poll_seconds)
    return total
