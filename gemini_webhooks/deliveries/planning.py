"""Gives a delivery its runs and its result file: the first time, and again for a replay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from gemini_webhooks import clock
from gemini_webhooks.deliveries import lanes
from gemini_webhooks.deliveries.common import NOT_HELD, alias, done_now, rows
from gemini_webhooks.deliveries.inserting import insert
from gemini_webhooks.deliveries.statements import Changes, Slot, Update, field_of, slots
from gemini_webhooks.events import Event, bare_id
from gemini_webhooks.exceptions import NothingToReplay
from gemini_webhooks.models import (
    Attempt,
    Job,
    ReceiverRun,
    ResultFile,
    SigningSecret,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.receivers import Lane
from gemini_webhooks.storable import storable_text

#: A new ``last_used_at`` or ``last_delivery_at`` is written this often at most.
TOUCH_SECONDS = 10
MAX_SOURCE_LENGTH = 1500


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run to create.

    Attributes:
        receiver: stable name.
        queue: Celery queue, or ``None`` for the default one.
        lane: whose limit it obeys, or ``None``.
        waits_for_result: it starts when the result file is complete.
    """

    receiver: str
    queue: str | None = None
    lane: Lane | None = None
    waits_for_result: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an event asks for, with the receivers that are connected now.

    Attributes:
        runs: one per receiver.
        result_source: where its result file is; ``None`` if there is none to fetch.
    """

    runs: Sequence[PlannedRun] = ()
    result_source: str | None = None


@dataclass(frozen=True, kw_only=True)
class Started:
    """What :func:`start` created.

    Attributes:
        runs: of the delivery, which says that it is being processed.
        result: the result file, if there is one.
    """

    runs: Sequence[ReceiverRun]
    result: ResultFile | None


def start(delivery: WebhookDelivery, event: Event, plan: Plan) -> Started | None:
    """Take a received delivery into processing: create its runs and its result file.

    Returns:
        What is new; ``None`` if it had been done before.
    """
    prepare(plan)
    state = WebhookDelivery.State.PROCESSING if plan.runs else WebhookDelivery.State.IGNORED
    with transaction.atomic(using=alias()):
        # The row stays locked from here on: a second worker waits, then finds nothing to do. With
        # another time it was swept, or got new content, after it was read: that is planned anew.
        if not _take(delivery, state):
            return None
        came_alone = plan.result_source is None and delivery.source == delivery.Source.WEBHOOK
        result = None if came_alone else _result(delivery, plan)
        runs = _create_runs(delivery, _unplanned(delivery, plan), result)
        if delivery.source != WebhookDelivery.Source.RECORDING:
            _settle_job(delivery, event)
            _touch(delivery)
    delivery.state, delivery.sweep_at = state, None
    return Started(runs=runs, result=result)


def _take(delivery: WebhookDelivery, state: WebhookDelivery.State) -> bool:
    """Bring a received delivery, if it is as it was, to ``state``."""
    if state == WebhookDelivery.State.PROCESSING and delivery.sweep_at is not None:
        return bool(_begin(id=delivery.pk, before=delivery.sweep_at))
    received = rows(WebhookDelivery).filter(
        pk=delivery.pk, state=WebhookDelivery.State.RECEIVED, sweep_at=delivery.sweep_at
    )
    done = {} if state == WebhookDelivery.State.PROCESSING else done_now()
    return bool(received.update(state=state, sweep_at=None, **done))


_begin = Update(
    lambda: (
        rows(WebhookDelivery).filter(
            pk=slots(WebhookDelivery, "id")["id"],
            state=WebhookDelivery.State.RECEIVED,
            sweep_at=Slot("before", field_of(WebhookDelivery, "sweep_at")),
        ),
        {"state": WebhookDelivery.State.PROCESSING, "sweep_at": None},
    )
)


def _unplanned(delivery: WebhookDelivery, plan: Plan) -> Sequence[PlannedRun]:
    """The runs of ``plan``, but for a find whose event has come: those that it does not have."""
    if delivery.source != WebhookDelivery.Source.RECONCILER:
        return plan.runs
    runs = rows(ReceiverRun).filter(delivery=delivery)
    planned = set(runs.values_list("receiver", flat=True))
    return [run for run in plan.runs if run.receiver not in planned]


def unreadable(delivery: WebhookDelivery) -> None:
    """A received delivery turned out to hold nothing that can be parsed."""
    rows(WebhookDelivery).filter(pk=delivery.pk, state=WebhookDelivery.State.RECEIVED).update(
        state=WebhookDelivery.State.UNREADABLE, sweep_at=None, **done_now()
    )


def prepare(plan: Plan) -> None:
    """Make sure that the lanes of ``plan`` are there. Call it outside of a transaction."""
    limits = {run.lane.key: run.lane.limit for run in plan.runs if run.lane}
    if limits:
        lanes.open_lanes(limits)


def reopen(
    delivery: WebhookDelivery,
    plan: Plan,
    *,
    names: Collection[str] | None,
    only_dead: bool = False,
    actor: str,
) -> list[int]:
    """Make runs of ``delivery`` due again, with all their attempts before them.

    Receivers that were connected since get a run as well. Runs that wait for a result file go on
    waiting until it is complete; one that had failed or was removed is fetched again.

    Args:
        delivery: processed, failed or ignored.
        plan: what its event asks for now; :func:`prepare` it before.
        names: of the receivers; ``None`` for all of them.
        only_dead: leave out those that are not dead, and those that were connected since.
        actor: who asked for it.

    Returns:
        The ids of the runs. Those that are being executed are left alone and not among them.
    """
    replay = {
        "is_replay": True,
        "trigger": Attempt.Trigger.REPLAY,
        "actor": storable_text(actor, 255),
    }
    with transaction.atomic(using=alias()):
        runs = rows(ReceiverRun).filter(delivery=delivery)
        if only_dead:
            result = _result(delivery, Plan())
            runs = runs.filter(state=ReceiverRun.State.DEAD)
        else:
            known = set(runs.values_list("receiver", flat=True))
            new = [run for run in plan.runs if run.receiver not in known and _is_in(run, names)]
            result = _result(delivery, plan)
            _create_runs(delivery, new, result, **replay)
        if names is not None:
            runs = runs.filter(receiver__in=names)
        being_executed = Q(state=ReceiverRun.State.RUNNING, lease_until__gte=clock.now())
        free = runs.exclude(being_executed).select_for_update()
        ids = list(free.values_list("pk", flat=True))
        reopened = rows(ReceiverRun).filter(pk__in=ids)
        reopened.update(
            state=ReceiverRun.State.PENDING,
            attempts=0,
            claim="",
            lease_until=None,
            finished_at=None,
            next_attempt_at=clock.now(),
            lane="",
            parked_at=None,
            sweeps=0,
            **NOT_HELD,
            **replay,
        )
        for run in plan.runs:
            if run.lane:
                reopened.filter(receiver=run.receiver).update(lane=run.lane.key)
        lanes.park(reopened)
        _wait_for_result(reopened.filter(result__isnull=False), result)
        if ids:
            rows(WebhookDelivery).filter(pk=delivery.pk).update(
                state=WebhookDelivery.State.PROCESSING, sweep_at=None
            )
    return ids


def refetch(delivery: WebhookDelivery, plan: Plan) -> bool:
    """Have the result files of ``delivery`` fetched again, with all attempts before them.

    Receivers that wait for one run once it is there; others are not told. A file that is there
    stays until the new one is.

    Returns:
        ``False``: a worker fetches it at this moment.

    Raises:
        NothingToReplay: it has none.
    """
    with transaction.atomic(using=alias()):
        _result(delivery, plan)
        results = rows(ResultFile).filter(delivery=delivery).exclude(source_uri="")
        if not results.exists():
            raise NothingToReplay(f"{delivery.webhook_id} has no result file")
        being_fetched = Q(state=ResultFile.State.FETCHING, lease_until__gte=clock.now())
        return bool(results.exclude(being_fetched).update(claim="", lease_until=None, **_anew()))


def _is_in(run: PlannedRun, names: Collection[str] | None) -> bool:
    return names is None or run.receiver in names


def _result(delivery: WebhookDelivery, plan: Plan) -> ResultFile | None:
    if plan.result_source is None:
        return rows(ResultFile).filter(delivery=delivery).first()
    result, _ = rows(ResultFile).get_or_create(
        delivery=delivery,
        position=0,
        defaults={
            "source_uri": storable_text(plan.result_source, MAX_SOURCE_LENGTH),
            "next_attempt_at": clock.now(),
        },
    )
    return result


def _create_runs(
    delivery: WebhookDelivery,
    planned: Sequence[PlannedRun],
    result: ResultFile | None,
    **fields: object,
) -> Sequence[ReceiverRun]:
    now = clock.now()
    # One that a recording brought along is there from the beginning.
    is_there = result is not None and result.state == ResultFile.State.COMPLETE
    runs = [
        ReceiverRun(
            delivery=delivery,
            receiver=run.receiver,
            queue=run.queue or "",
            lane=_lane(run),
            parked_at=now if run.lane and (is_there or not run.waits_for_result) else None,
            result=result if run.waits_for_result else None,
            next_attempt_at=None if run.lane or (run.waits_for_result and not is_there) else now,
            **fields,
        )
        for run in planned
    ]
    using = alias()
    for run in runs:
        run.pk = insert(ReceiverRun, vars(run), using)
        run._state.adding, run._state.db = False, using
    return runs


def _lane(run: PlannedRun) -> str:
    return run.lane.key if run.lane else ""


def _wait_for_result(waiting: QuerySet[ReceiverRun], result: ResultFile | None) -> None:
    """Let reopened ``result_ready`` runs start only if their file is there; fetch it if not."""
    if result is None or result.state == ResultFile.State.COMPLETE or not waiting.exists():
        return
    waiting.update(next_attempt_at=None, parked_at=None)
    gone = (ResultFile.State.FAILED, ResultFile.State.REMOVED)
    rows(ResultFile).filter(pk=result.pk, state__in=gone).update(**_anew())


def _anew() -> dict[str, object]:
    """What changes of a result file that is to be fetched from the beginning."""
    return {
        "state": ResultFile.State.PENDING,
        "attempts": 0,
        "error": "",
        "next_attempt_at": clock.now(),
        "sweeps": 0,
    }


def _settle_job(delivery: WebhookDelivery, event: Event) -> None:
    if event.job_state is None or not event.resource_id:
        return
    # Events come in any order.
    settle = _job_waits if event.job_state == "requires_action" else _job_ended
    settle(
        as_sent=event.resource_id,
        bare=bare_id(event.resource_id),
        state=event.job_state,
        delivery=delivery.pk,
    )


def _job_update(**which: object) -> Update:
    def build() -> tuple[QuerySet[Job], Changes]:
        named = field_of(Job, "resource_id")
        ids = [Slot("as_sent", named), Slot("bare", named)]
        jobs = rows(Job).filter(resource_id__in=ids, **which)
        return jobs, {"last_error": "", **slots(Job, "state", "delivery")}

    return Update(build)


_job_ended = _job_update()
_job_waits = _job_update(state=Job.State.SUBMITTED)


def _touch(delivery: WebhookDelivery) -> None:
    """Note when endpoint and secret were last used; not on every delivery, to spare the rows."""
    seen = {"stale": clock.after(-TOUCH_SECONDS), "seen": delivery.received_at}
    if delivery.endpoint_id is not None:
        _touch_endpoint(id=delivery.endpoint_id, **seen)
    if delivery.secret_id is not None:
        _touch_secret(id=delivery.secret_id, **seen)


def _touch_update(model: type[WebhookEndpoint | SigningSecret], name: str) -> Update:
    def build() -> tuple[QuerySet[Any], Changes]:
        field = field_of(model, name)
        stale = Q(**{name: None}) | Q(**{f"{name}__lt": Slot("stale", field)})
        return rows(model).filter(stale, pk=slots(model, "id")["id"]), {name: Slot("seen", field)}

    return Update(build)


_touch_endpoint = _touch_update(WebhookEndpoint, "last_delivery_at")
_touch_secret = _touch_update(SigningSecret, "last_used_at")
