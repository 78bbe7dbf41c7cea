"""Runs stored deliveries again: one of them, or all that a selection finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import Count, Max, Min, Q

from gemini_webhooks import clock, deliveries, dispatch, processing
from gemini_webhooks.deliveries import Selection, replays
from gemini_webhooks.exceptions import InvalidSelection, NothingToReplay
from gemini_webhooks.models import Replay, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.processing import Handoff
from gemini_webhooks.storable import is_storable

__all__ = [
    "MAX_RATE",
    "InvalidSelection",
    "NothingToReplay",
    "Preview",
    "preview",
    "replay",
    "start",
    "stop",
]

#: Deliveries per minute, at most.
MAX_RATE = 100_000
#: A preview counts no further.
CEILING = 100_000
SAMPLE_SIZE = 5
MAX_RECEIVERS = 100
MAX_NAME_LENGTH = 255

What = Replay.What


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a replay would be about now.

    Attributes:
        count: how many deliveries.
        at_least: there are more than that; the times and ``without_body`` are then of a part.
        without_body: of these; they cannot be replayed, as their body was removed.
        oldest, newest: when the first and the last of them was received; aware.
        sample: ids and webhook ids of a few, the newest ones.
    """

    count: int
    at_least: bool = False
    without_body: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    sample: Sequence[tuple[int, str]] = ()


def replay(
    delivery: WebhookDelivery,
    *,
    receivers: Sequence[str] | None = None,
    only_failed: bool = False,
    only_results: bool = False,
    actor: str,
    reason: str = "",
) -> list[int]:
    """Run receivers of a delivery again, whatever became of them before.

    They start with all their attempts before them, keep the webhook id, are told
    ``event.is_replay``, and their attempts name the actor. Receivers that were connected since
    are run as well. Those of ``result_ready`` wait for the result file; one that could not be
    fetched is fetched again. A row of ``Replay`` says who asked for it, and why.

    Args:
        delivery: a stored delivery.
        receivers: stable names; ``None`` for all of them.
        only_failed: run those that gave up, and nothing else.
        only_results: fetch the result file again, and run only what waits for it.
        actor: who asked for it, for the audit.
        reason: why, likewise.

    Returns:
        The ids of the runs; there may be none with ``only_results``.

    Raises:
        PayloadPruned: the body was removed by retention.
        NothingToReplay: there is no such receiver, it is being executed now, the delivery was
            not processed for the first time yet, or its body is not JSON.
        InvalidSelection: two of ``receivers``, ``only_failed`` and ``only_results`` are given.
    """
    what = _what(receivers, only_failed=only_failed, only_results=only_results)
    names = tuple(receivers or ())
    delivery = deliveries.rows(WebhookDelivery).get(pk=delivery.pk)
    plan = processing.plan_again(delivery)
    with transaction.atomic(using=deliveries.alias()):
        runs = processing.run_again(delivery, plan, what=what, receivers=names, actor=actor)
        replays.note_single(
            delivery, what=what, receivers=names, actor=actor, reason=reason, runs=len(runs)
        )
    dispatch.hand_off_all(partial(processing.handoffs_of, delivery))
    return runs


def preview(
    selection: Selection, *, what: str = What.EVERYTHING, receivers: Sequence[str] = ()
) -> Preview:
    """Find out what :func:`start` would be about; nothing is changed.

    Raises:
        InvalidSelection: as :func:`start`; here it may be empty.
        django.db.Error: the database did not answer.
    """
    _check(selection, what, receivers)
    found = replays.meant(selection, what)
    columns = found.values("pk", "received_at", "emptied_at")
    seen = columns[: CEILING + 1].aggregate(
        count=Count("pk"),
        without_body=Count("pk", filter=Q(emptied_at__isnull=False)),
        oldest=Min("received_at"),
        newest=Max("received_at"),
    )
    newest = found.order_by("-received_at", "-pk").values_list("pk", "webhook_id")
    return Preview(
        count=min(seen["count"], CEILING),
        at_least=seen["count"] > CEILING,
        without_body=seen["without_body"],
        oldest=seen["oldest"] and clock.aware(seen["oldest"]),
        newest=seen["newest"] and clock.aware(seen["newest"]),
        sample=tuple(newest[:SAMPLE_SIZE]),
    )


def start(
    selection: Selection,
    *,
    what: str = What.EVERYTHING,
    receivers: Sequence[str] = (),
    rate: int | None = None,
    everything: bool = False,
    actor: str,
    reason: str = "",
) -> Replay:
    """Begin to run again all that ``selection`` finds now; workers do it, in the order of ids.

    Deliveries that come later are not meant. What cannot be run again is left out, and the log
    of the replay says why.

    Args:
        selection: which deliveries.
        what: one of ``Replay.What``.
        receivers: their stable names, for ``receivers``.
        rate: how many deliveries per minute; ``None`` as fast as it goes.
        everything: an empty selection is meant: every delivery there is.
        actor: who asked for it, for the audit.
        reason: why, likewise.

    Raises:
        InvalidSelection: the selection is empty or names an endpoint that is not there, or
            another argument cannot be used; the message says which.
        NothingToReplay: the selection finds nothing.
        django.db.Error: the database did not answer.
    """
    if selection.is_empty and not everything:
        raise InvalidSelection("Say which deliveries, or that all of them are meant.")
    if rate is not None and (isinstance(rate, bool) or not 1 <= rate <= MAX_RATE):
        raise InvalidSelection(f"A rate is a whole number from 1 to {MAX_RATE} per minute.")
    _check(selection, what, receivers)
    with transaction.atomic(using=deliveries.alias()):
        begun = replays.begin(
            selection, what=what, receivers=receivers, rate=rate, actor=actor, reason=reason
        )
        if not begun.total:
            raise NothingToReplay("There is no such delivery.")
    dispatch.hand_off_all(lambda: [Handoff(kind="replay", id=begun.pk)])
    return begun


def stop(replay: Replay, *, actor: str) -> bool:
    """Stop a replay: it comes to no further delivery. What it has begun goes on.

    Returns:
        ``False``: it had ended before.
    """
    return replays.stop(replay.pk, actor=actor)


def _what(receivers: Sequence[str] | None, *, only_failed: bool, only_results: bool) -> What:
    asked = {
        What.RECEIVERS: receivers is not None,
        What.FAILED: only_failed,
        What.RESULTS: only_results,
    }
    chosen = [what for what, is_asked in asked.items() if is_asked]
    if len(chosen) > 1:
        raise InvalidSelection(
            "Give one of: some receivers, only what failed, only the result file."
        )
    return chosen[0] if chosen else What.EVERYTHING


def _check(selection: Selection, what: str, receivers: Sequence[str]) -> None:
    if what not in What.values:
        raise InvalidSelection(f"What runs again is one of {', '.join(What.values)}.")
    if (what == What.RECEIVERS) is not bool(receivers):
        raise InvalidSelection(
            f"Names of receivers go with {What.RECEIVERS.value!r}, and only there."
        )
    names: Sequence[object] = receivers
    are_names = all(
        isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH and is_storable(name)
        for name in names
    )
    if isinstance(receivers, str) or len(receivers) > MAX_RECEIVERS or not are_names:
        raise InvalidSelection(
            f"Receivers are at most {MAX_RECEIVERS} names of at most {MAX_NAME_LENGTH} characters."
        )
    if selection.endpoint:
        endpoints = deliveries.rows(WebhookEndpoint).filter(slug=selection.endpoint)
        if not endpoints.exists():
            raise InvalidSelection(f"There is no endpoint “{selection.endpoint}”.")
