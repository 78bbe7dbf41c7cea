"""Runs one receiver on one delivery, here and now: for a trial that leaves nothing, or for good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db import connections, router, transaction

from gemini_webhooks import clock, deliveries, events, observe, processing, receivers, routing
from gemini_webhooks.deliveries import Plan, PlannedRun, alias, rows
from gemini_webhooks.events import Event
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import Attempt, ReceiverRun, ResultFile, WebhookDelivery
from gemini_webhooks.processing.planning import event_of
from gemini_webhooks.receivers import RESULT_PREFIX, Receiver
from gemini_webhooks.recordings.loading import is_only_stored


class CannotRun(GeminiWebhooksError):
    """No receiver can be run on a delivery now; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run for good ended.

    Attributes:
        state: of the run.
        outcome: of its attempt; empty if there was none.
        traceback: of what the receiver raised; empty if it did not.
        next_attempt_at: aware time of the retry, if there is to be one.
    """

    state: str
    outcome: str = ""
    traceback: str = ""
    next_attempt_at: datetime | None = None


@contextmanager
def rolled_back() -> Iterator[None]:
    """Undo at the end whatever is written inside to the databases of the site.

    Raises:
        django.db.Error: a database that the site's models are written to does not answer.
    """
    needed = {router.db_for_write(model) for model in apps.get_models()} | {alias()}
    held: list[str] = []
    with ExitStack() as stack:
        # Those that no router leads to as well: a receiver may name one.
        for database in sorted({*needed, *connections}):
            try:
                stack.enter_context(transaction.atomic(using=database))
            except Exception:
                if database in needed:
                    raise
            else:
                held.append(database)
        try:
            yield
        finally:
            for database in held:
                transaction.set_rollback(True, using=database)


def receivers_of(delivery: WebhookDelivery) -> list[Receiver]:
    """The receivers that are connected here for what ``delivery`` says.

    Raises:
        PayloadPruned: its body was removed.
        CannotRun: it is unreadable.
    """
    event = _event(delivery)
    found = receivers.matching(event, WebhookDelivery)
    if event.result_source:
        found += receivers.awaiting_result(event, WebhookDelivery)
    return found


def find(delivery: WebhookDelivery, name: str | None) -> Receiver:
    """The receiver of that name, or whose dotted name ends so; without a name, the only one.

    Raises:
        PayloadPruned: its body was removed.
        CannotRun: there is no such receiver, or there are several; the message names them.
    """
    found = receivers_of(delivery)
    if name is None and len(found) == 1:
        return found[0]
    called = [receiver for receiver in found if receiver.name == name]
    called = called or [receiver for receiver in found if _last_part(receiver) == name]
    if len(called) == 1:
        return called[0]
    names = ", ".join(receiver.name for receiver in called or found) or "none"
    if called:
        raise CannotRun(f"Several receivers are called {name} for this event: {names}.")
    if name is None and found:
        raise CannotRun(f"Say which receiver with --receiver; for this event there are: {names}.")
    if name in receivers.names(WebhookDelivery):
        raise CannotRun(
            f"{name} is connected, but not for this event: its type or its metadata do not match "
            f"(were they redacted?). For this event there are: {names}."
        )
    raise CannotRun(
        f"{name or 'No receiver'} is {'not ' if name else ''}connected in this process. For this "
        f"event there are: {names}. The module that connects a receiver has to be imported by its "
        "app's ready()."
    )


def _last_part(receiver: Receiver) -> str:
    return re.split(r"[.:]", receiver.name)[-1]


def call(receiver: Receiver, delivery: WebhookDelivery) -> None:
    """Call it as a worker would, but without a run, an attempt or a transaction.

    Raises:
        CannotRun: it waits for a result file that is not there.
        Exception: what it raises.
    """
    arguments: dict[str, Any] = {
        "sender": WebhookDelivery,
        "event": _event(delivery),
        "delivery": delivery,
    }
    if _waits(receiver):
        arguments["result"] = _result(receiver, delivery)
    with observe.about(delivery):
        receiver(**arguments)


def run_for_good(receiver: Receiver, delivery: WebhookDelivery, *, actor: str) -> Ended:
    """Run it as a replay does, with an attempt in the log, but in this process.

    Its limit does not hold it, as somebody waits for it. Other receivers are left alone.

    Args:
        receiver: of :func:`find`.
        delivery: one that was processed, or a recording.
        actor: who asked for it.

    Raises:
        CannotRun: it is being run, was not processed yet, or waits for a result file.
        django.db.Error: the database did not answer.
    """
    if _waits(receiver):
        _result(receiver, delivery)
    run_id = _due(receiver, delivery, actor)
    before = _last_attempt(run_id)
    processing.run(run_id)
    run = rows(ReceiverRun).get(pk=run_id)
    attempt = _last_attempt(run_id)
    if attempt is None or attempt == before:
        raise CannotRun(
            f"{receiver.name} did not run: "
            + ("a pause holds it." if run.held_at else "another worker was faster.")
        )
    return Ended(
        state=run.state,
        outcome=attempt.outcome,
        traceback=attempt.traceback,
        next_attempt_at=run.next_attempt_at and clock.aware(run.next_attempt_at),
    )


def _due(receiver: Receiver, delivery: WebhookDelivery, actor: str) -> int:
    """Make the run of one receiver due; gives its id."""
    event = _event(delivery)
    run = PlannedRun(
        receiver=receiver.name,
        queue=routing.queue_for(event, receiver),
        waits_for_result=_waits(receiver),
    )
    plan = Plan(runs=[run])
    if delivery.state == WebhookDelivery.State.RECEIVED:
        _begin(delivery, event, plan)
    else:
        deliveries.reopen(delivery, plan, names=[receiver.name], actor=actor)
    due = rows(ReceiverRun).filter(
        delivery=delivery, receiver=receiver.name, next_attempt_at__isnull=False
    )
    run_id = due.values_list("pk", flat=True).first()
    if run_id is None:
        raise CannotRun(f"{receiver.name} is being run at this moment, or cannot start.")
    return run_id


def _begin(delivery: WebhookDelivery, event: Event, plan: Plan) -> None:
    """A recording that was only stored gets this one run; what is to be processed needs all."""
    if not is_only_stored(delivery) or not deliveries.start(delivery, event, plan):
        raise CannotRun(
            f"{delivery.webhook_id} was not processed for the first time yet: a worker does that, "
            "or `manage.py gemini_webhooks drain`."
        )


def _event(delivery: WebhookDelivery) -> Event:
    try:
        return event_of(delivery, is_replay=True)
    except events.Unreadable as error:
        raise CannotRun(f"{delivery.webhook_id} is unreadable: {error}.") from None


def _waits(receiver: Receiver) -> bool:
    return receiver.name.startswith(RESULT_PREFIX)


def _result(receiver: Receiver, delivery: WebhookDelivery) -> ResultFile:
    results = rows(ResultFile).filter(delivery=delivery).order_by("position")
    for result in results:
        if result.state == ResultFile.State.COMPLETE:
            return result
    states = ", ".join(result.state for result in results) or "none was recorded"
    raise CannotRun(
        f"{receiver.name} takes a result file, and none is here ({states}). Export the delivery "
        "with --results, or have it fetched with `manage.py gemini_webhooks replay --results`."
    )


def _last_attempt(run_id: int) -> Attempt | None:
    return rows(Attempt).filter(run=run_id).order_by("number").last()
