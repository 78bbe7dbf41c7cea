"""Runs stored deliveries again: a single one, or in steps all that a replay is about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import Error as DatabaseTrouble
from django.db import InterfaceError, OperationalError

from gemini_webhooks import clock, deliveries, events, logs, observe
from gemini_webhooks.deliveries import Plan, replays
from gemini_webhooks.deliveries.replays import Step, StepLost
from gemini_webhooks.exceptions import GeminiWebhooksError, NothingToReplay
from gemini_webhooks.models import Replay, WebhookDelivery
from gemini_webhooks.processing.handoffs import Handoff, handoffs_of
from gemini_webhooks.processing.planning import planned_for

logger = logs.get_logger(__name__)

#: Deliveries in one step, whose lease is renewed with each of them.
STEP_SIZE = 100
#: A step of a replay with a rate takes what is allowed in so many seconds. One that comes late
#: makes up for so much.
PACE_SECONDS = 5.0
MINUTE = 60.0
#: Databases resolve a deadlock by ending one of the two, and SQLite may be locked.
TRIES = 3
AWAY = (OperationalError, InterfaceError)


def plan_again(delivery: WebhookDelivery) -> Plan:
    """What ``delivery`` asks for now. Call it outside of a transaction.

    Raises:
        PayloadPruned: its body was removed.
        NothingToReplay: it was not processed for the first time yet, or is unreadable.
    """
    if delivery.state == WebhookDelivery.State.RECEIVED:
        raise NothingToReplay(
            f"{delivery.webhook_id} was not processed for the first time yet; a sweep hands it off"
        )
    try:
        event = events.parse(deliveries.stored(delivery), is_replay=True)
    except events.Unreadable as error:
        raise NothingToReplay(f"{delivery.webhook_id} is unreadable: {error}") from None
    plan = planned_for(event)
    deliveries.prepare(plan)
    return plan


def run_again(
    delivery: WebhookDelivery, plan: Plan, *, what: str, receivers: Sequence[str] = (), actor: str
) -> list[int]:
    """Make due what is to be run again. The caller has it done, by :func:`handoffs_of`.

    Args:
        delivery: whose.
        plan: of :func:`plan_again`.
        what: one of ``Replay.What``.
        receivers: stable names, for ``receivers``.
        actor: who asked for it.

    Returns:
        The ids of the runs. None for ``results``: what waits for the file runs once it is there.

    Raises:
        NothingToReplay: it has nothing of that kind, or that is being done now.
    """
    if what == Replay.What.RESULTS:
        if not deliveries.refetch(delivery, plan):
            raise NothingToReplay(
                f"the result file of {delivery.webhook_id} is being fetched right now"
            )
        return []
    only_dead = what == Replay.What.FAILED
    names = receivers if what == Replay.What.RECEIVERS else None
    runs = deliveries.reopen(delivery, plan, names=names, only_dead=only_dead, actor=actor)
    if not runs:
        why = "no receiver has failed" if only_dead else "no such receiver, or it is running now"
        raise NothingToReplay(f"nothing to replay for {delivery.webhook_id}: {why}")
    return runs


def advance(replay_id: int) -> list[Handoff]:
    """Take the next step of a replay, if it is due and nobody else does.

    Each delivery is a transaction of its own, together with the mark how far it is. So nothing is
    run again twice if a worker dies, and what cannot be run again does not stop the others.

    Returns:
        What is to be done now, and the next step, if there is to be one.
    """
    step = replays.take_step(replay_id)
    handoffs: list[Handoff] = []
    if step is None:
        return handoffs
    try:
        _take(step, handoffs)
    except StepLost:
        pass
    except DatabaseTrouble as error:
        # The step is held for a while yet; then the sweeper finds it.
        logger.warning("replay %s is put off: %s", replay_id, type(error).__name__)
    except GeminiWebhooksError as error:
        logger.error("replay %s is stopped: %s", replay_id, error)  # noqa: TRY400  # says it all
        replays.stop(replay_id, actor="")
    return handoffs


def _take(step: Step, handoffs: list[Handoff]) -> None:
    rate = step.replay.rate
    allowed = max(1, int(rate * PACE_SECONDS / MINUTE)) if rate else STEP_SIZE
    size = min(STEP_SIZE, allowed + 1)
    ids = replays.next_ones(step, size)
    replayed = 0
    for delivery_id in ids:
        if replayed == allowed:
            break
        replayed += _replay(step, delivery_id, handoffs)
    else:
        if len(ids) < size:
            replays.end(step)
            return
    now = clock.now()
    # In step with the rate, but for what is lost because nobody came for long.
    begun = max(step.due, now - timedelta(seconds=PACE_SECONDS))
    wait = timedelta(seconds=replayed * MINUTE / rate) if rate else timedelta(0)
    next_step_at = max(now, begun + wait)
    replays.let_go(step, next_step_at=next_step_at)
    delay = (next_step_at - now).total_seconds()
    handoffs.append(Handoff(kind="replay", id=step.replay.pk, delay=delay))


def _replay(step: Step, delivery_id: int, handoffs: list[Handoff]) -> bool:
    """Run a delivery again, or write down why not. Whether it did."""
    delivery = deliveries.rows(WebhookDelivery).filter(pk=delivery_id).first()
    if delivery is None:
        _skip(step, delivery_id, "it was deleted meanwhile")
        return False
    with observe.about(delivery):
        try:
            _patiently(step, delivery)
        except (StepLost, *AWAY):
            raise
        except GeminiWebhooksError as error:
            _skip(step, delivery_id, str(error))
            return False
        except Exception as error:  # noqa: BLE001  # one bad row must not stop the others
            kind = type(error).__name__  # its text may quote the row
            logger.error("delivery %s not replayed: %s", delivery_id, kind)  # noqa: TRY400  # likewise
            _skip(step, delivery_id, f"it failed: {kind}")
            return False
        try:
            handoffs += handoffs_of(delivery)
        except DatabaseTrouble as error:
            logger.warning("replay is left to the sweeper: %s", type(error).__name__)
    return True


def _patiently(step: Step, delivery: WebhookDelivery) -> None:
    for _ in range(TRIES - 1):
        try:
            _run_one(step, delivery)
        except OperationalError as error:
            logger.warning("replay is tried again: %s", type(error).__name__)
        else:
            return
    _run_one(step, delivery)


def _run_one(step: Step, delivery: WebhookDelivery) -> None:
    replay = step.replay
    plan = plan_again(delivery)
    with replays.coming_to(step, delivery.pk):
        if not replays.is_still_meant(step, delivery.pk):
            raise NothingToReplay(
                f"{delivery.webhook_id} is not what was asked for any more: was it replayed before?"
            )
        runs = run_again(
            delivery, plan, what=replay.what, receivers=replay.receivers, actor=replay.actor
        )
        replays.note(step, delivery.pk, runs=len(runs))


def _skip(step: Step, delivery_id: int, problem: str) -> None:
    with replays.coming_to(step, delivery_id):
        replays.note(step, delivery_id, problem=problem)
