"""Takes deliveries into processing and runs at once those of their receivers that are quick.

A message for a run, and a worker that takes it, cost more than most receivers do. What may take
long is handed on before the first of them begins, so that it waits for none; and if they take long
after all, what is left is handed on, too.

Whether a receiver is quick shows when it runs. So one run of those of which that is not known comes
last of all, when there is nothing left to wait for it. Else nothing would be known throughout a
burst: messages for runs come behind those for all its deliveries.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from django.db import Error as DatabaseTrouble
from django.db import close_old_connections

from gemini_webhooks import observe
from gemini_webhooks.models import ReceiverRun
from gemini_webhooks.processing.handoffs import Handoff, handoff_of
from gemini_webhooks.processing.planning import plan_new
from gemini_webhooks.processing.quickness import is_quick, may_be_quick
from gemini_webhooks.processing.running import run_new
from gemini_webhooks.processing.settling import settle_one

#: So long after a message was taken, no other run is begun because of it, in seconds.
BUDGET_SECONDS = 3.0


def plan_all(
    delivery_ids: Iterable[int],
    *,
    comes_here: Callable[[Handoff], bool] = lambda _: False,
    again: bool = False,
) -> Iterator[Handoff]:
    """As :func:`plan` for several deliveries; quick receivers of theirs are run as well.

    Each that is returned has to be handed on before the next one is asked for. One delivery or
    run that fails stops none of the others.

    Args:
        delivery_ids: the deliveries.
        comes_here: whether what it would be handed on as comes to whom this works for.
        again: somebody has begun with these, and did not come to the end: what is due of those
            that he has planned is handed on.

    Raises:
        Exception: what the last of those that failed raised, after all the others.
    """
    until = time.monotonic() + BUDGET_SECONDS
    failures: list[Exception] = []
    quick: list[ReceiverRun] = []
    last: ReceiverRun | None = None
    for delivery_id in delivery_ids:
        try:
            planned = plan_new(delivery_id, again=again)
        except Exception as error:  # noqa: BLE001  # raised below
            failures.append(error)
            _reconnect()
            continue
        for handoff in planned.handoffs:
            run = planned.runs.get(handoff)
            if run is None or not may_be_quick(run.receiver) or not comes_here(handoff):
                yield handoff
            elif is_quick(run.receiver):
                quick.append(run)
            elif last is None:
                last = run
            else:
                yield handoff
    yield from _run_all(deque(filter(None, [*quick, last])), until, failures)
    if failures:
        raise failures[-1]


def _reconnect() -> None:
    """If it was the connection, those that come next get a new one."""
    with suppress(DatabaseTrouble):  # some drivers cannot close what is gone
        close_old_connections()


def _run_all(
    runs: deque[ReceiverRun], until: float, failures: list[Exception]
) -> Iterator[Handoff]:
    while runs and time.monotonic() < until:
        run = runs.popleft()
        try:
            handoffs = run_new(run)
        except Exception as error:  # noqa: BLE001  # raised by the caller
            # Such as a connection that is gone: another task has another one.
            failures.append(error)
            yield handoff_of(run)
            break
        # Once for all that ran here.
        if not runs or runs[0].delivery_id != run.delivery_id:
            with observe.about(run.delivery):
                settle_one(run)
        yield from handoffs
    # Those of a delivery that is not settled yet are among them.
    yield from map(handoff_of, runs)
