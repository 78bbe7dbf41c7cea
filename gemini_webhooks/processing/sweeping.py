"""Finds what was lost on the way, and hands it on."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import transaction

from gemini_webhooks import deliveries
from gemini_webhooks.processing.fetching import after_fetch
from gemini_webhooks.processing.handoffs import Handoff, admitted
from gemini_webhooks.processing.resuming import let_go
from gemini_webhooks.processing.settling import settle

#: So many times the limit is let go at once of what pauses held: it waits for nothing but a sweep.
LET_GO = 20


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What :func:`sweep` found: what to hand on, and how many deliveries it settled."""

    handoffs: tuple[Handoff, ...] = field(default=())
    settled: int = 0


def sweep(limit: int = 500, *, everything: bool = False) -> Swept:
    """Find what was lost on the way: never handed off, overdue, or left by a dead worker.

    What pauses held that are lifted is let go besides.

    Args:
        limit: how many rows of each kind at most.
        everything: also what may still be under way; doing a thing twice changes nothing.
    """
    overdue = not everything
    released = [
        handoff for result in deliveries.unreleased(limit) for handoff in after_fetch(result)
    ]
    released += let_go(limit * LET_GO)
    released += [handoff for lane in deliveries.with_room(limit) for handoff in admitted(lane)]
    with transaction.atomic(using=deliveries.alias()):
        waiting = deliveries.to_dispatch(limit, overdue_only=overdue)
        runs = deliveries.runs_due(limit, overdue_only=overdue)
        fetches = deliveries.results_due(limit, overdue_only=overdue)
        replays = deliveries.replays_due(limit, overdue_only=overdue)
        deliveries.handed_off(
            delivery_ids=waiting,
            run_ids=[pk for pk, _ in runs],
            result_ids=fetches,
            replay_ids=replays,
        )
    handoffs = [Handoff(kind="delivery", id=pk) for pk in waiting]
    handoffs += [Handoff(kind="run", id=pk, queue=queue or None) for pk, queue in runs]
    handoffs += [Handoff(kind="result", id=pk) for pk in fetches]
    handoffs += [Handoff(kind="replay", id=pk) for pk in replays]
    # What was released just now may be among the runs that are due.
    known = set(handoffs)
    handoffs += [handoff for handoff in released if handoff not in known]
    return Swept(handoffs=tuple(handoffs), settled=settle())
