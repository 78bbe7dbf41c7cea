"""The only writer of delivery and run state.

Every change of state is one conditional UPDATE, so that whoever comes second changes nothing:
two workers, a worker and the sweeper, a worker that was thought dead.
"""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from django.db import IntegrityError, router, transaction
from django.db.models import Case, Exists, F, Max, OuterRef, Q, QuerySet, Value, When

from gemini_webhooks import clock
from gemini_webhooks.events import Event
from gemini_webhooks.exceptions import GeminiWebhooksError, PayloadPruned, Unauthorised
from gemini_webhooks.models import (
    Attempt,
    Job,
    ReceiverRun,
    ResultFile,
    SigningSecret,
    TokenUse,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.storable import storable, storable_text
from gemini_webhooks.verification.types import VerifiedRequest

#: A worker that has not renewed its claim for so long is taken for dead.
LEASE_SECONDS = 60
#: How long the hand-off of a delivery or run may take before the sweeper repeats it.
SWEEP_GRACE_SECONDS = 60
MAX_TRACEBACK_LENGTH = 32_768
#: A new ``last_used_at`` or ``last_delivery_at`` is written this often at most.
TOUCH_SECONDS = 10

UNFINISHED = (
    ReceiverRun.State.PENDING,
    ReceiverRun.State.RUNNING,
    ReceiverRun.State.RETRYING,
)
WAITING = (ReceiverRun.State.PENDING, ReceiverRun.State.RETRYING)


class LeaseLost(GeminiWebhooksError):
    """Somebody else holds the run now; whatever was done for it must be rolled back."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What :func:`record` did: the row's id, and whether it is new."""

    delivery_id: int
    created: bool


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run to create.

    Attributes:
        receiver: stable name.
        queue: Celery queue, or ``None`` for the default one.
        waits_for_result: it starts when the result file is complete.
    """

    receiver: str
    queue: str | None = None
    waits_for_result: bool = False


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run that this process may execute until the lease ends."""

    run: ReceiverRun
    token: str


def alias() -> str:
    """The database of the deliveries, as the site's routers have it."""
    return router.db_for_write(WebhookDelivery)


def record(
    verified: VerifiedRequest,
    event: Event | None,
    *,
    endpoint_id: int | None,
    received_at: datetime,
    hand_off_now: bool,
) -> Recorded:
    """Store a verified request once; one INSERT decides whether it is a duplicate.

    Args:
        verified: the request.
        event: what it says; ``None`` if it is unreadable.
        endpoint_id: the registered endpoint that it came to; ``None`` for the root endpoint.
        received_at: aware time of receipt.
        hand_off_now: ``False`` if the caller will not hand it off, so that the sweeper does at
            once.

    Raises:
        Unauthorised: its token was used for another webhook id or body before.
        django.db.Error: it could not be stored.
    """
    delivery = _delivery(verified, event, endpoint_id, received_at)
    delivery.sweep_at = clock.after(SWEEP_GRACE_SECONDS if hand_off_now else 0)
    using = alias()
    try:
        with _statement(using, pinned=bool(_pin(verified))):
            if pin := _pin(verified):
                pin.save(using=using, force_insert=True)
            delivery.save(using=using, force_insert=True)
    except IntegrityError:
        return Recorded(delivery_id=_duplicate_of(verified, using), created=False)
    return Recorded(delivery_id=delivery.pk, created=True)


def sweep_soon(delivery_id: int) -> None:
    """The hand-off failed: let the next sweep do it."""
    WebhookDelivery.objects.using(alias()).filter(pk=delivery_id).update(sweep_at=clock.now())


def stored(delivery: WebhookDelivery) -> VerifiedRequest:
    """The verified request that ``delivery`` was.

    Raises:
        PayloadPruned: its body is no longer there.
    """
    if delivery.body is None:
        raise PayloadPruned(f"the body of {delivery.webhook_id} was removed by retention")
    return VerifiedRequest(
        webhook_id=delivery.webhook_id,
        body=bytes(delivery.body),
        signing=delivery.signing,  # type: ignore[arg-type]  # a choice of the column
        binding=delivery.binding or None,  # type: ignore[arg-type]  # likewise
        key_hint=delivery.key_hint,
        secret_id=delivery.secret_id,
        sealed_metadata=delivery.user_metadata if delivery.sealed else None,
    )


def start(
    delivery: WebhookDelivery, event: Event, runs: Sequence[PlannedRun], result_source: str | None
) -> bool:
    """Take a received delivery into processing: create its runs and its result file.

    Returns:
        Whether this call did it; ``False`` if it had been done before.
    """
    using = alias()
    state = WebhookDelivery.State.PROCESSING if runs else WebhookDelivery.State.IGNORED
    with transaction.atomic(using=using):
        # The row stays locked from here on: a second worker waits, then finds nothing to do.
        mine = (
            WebhookDelivery.objects.using(using)
            .filter(pk=delivery.pk, state=WebhookDelivery.State.RECEIVED)
            .update(state=state, sweep_at=None)
        )
        if not mine:
            return False
        result = None
        if result_source:
            result = ResultFile.objects.using(using).create(
                delivery=delivery,
                source_uri=storable_text(result_source, 1500),
                next_attempt_at=clock.now(),
            )
        now = clock.now()
        ReceiverRun.objects.using(using).bulk_create(
            ReceiverRun(
                delivery=delivery,
                receiver=run.receiver,
                queue=run.queue or "",
                result=result if run.waits_for_result else None,
                next_attempt_at=None if run.waits_for_result else now,
            )
            for run in runs
        )
        _settle_job(delivery, event, using)
        _touch(delivery, using)
    return True


def claim(run_id: int) -> Claim | None:
    """Take a run that is due, or whose worker is gone; ``None`` if somebody else has it.

    An attempt that was cut short by the death of its worker is written down as lost.
    """
    using = alias()
    now = clock.now()
    runs = ReceiverRun.objects.using(using)
    due = Q(state__in=WAITING, next_attempt_at__lte=now)
    abandoned = Q(state=ReceiverRun.State.RUNNING, lease_until__lt=now)
    run = runs.filter(due | abandoned, pk=run_id).select_related("delivery", "result").first()
    if run is None:
        return None
    was_abandoned = run.state == ReceiverRun.State.RUNNING
    token = uuid.uuid4().hex
    changes = {
        "state": ReceiverRun.State.RUNNING,
        "claim": token,
        "claimed_at": now,
        "attempts": run.attempts + 1,
        "trigger": Attempt.Trigger.RETRY if was_abandoned else run.trigger,
    }
    with transaction.atomic(using=using):
        mine = runs.filter(due | abandoned, pk=run_id, claim=run.claim).update(
            lease_until=clock.after(LEASE_SECONDS), next_attempt_at=None, **changes
        )
        if not mine:
            return None
        if was_abandoned:
            _log(run, Attempt.Outcome.LOST, using=using)
    for name, value in changes.items():
        setattr(run, name, value)
    return Claim(run=run, token=token)


def renew(held: Claim) -> bool:
    """Extend the lease; ``False`` if it was lost."""
    return bool(_held(held).update(lease_until=clock.after(LEASE_SECONDS)))


def succeed(held: Claim) -> None:
    """Mark the run done. Call it in the receiver's transaction: both commit, or none.

    Raises:
        LeaseLost: the run belongs to somebody else by now.
    """
    _finish(held, ReceiverRun.State.SUCCEEDED, Attempt.Outcome.SUCCEEDED, last_error="")


def postpone(held: Claim, seconds: float) -> None:
    """The receiver asked to be run later; this does not count as an attempt."""
    _finish(
        held,
        ReceiverRun.State.RETRYING,
        Attempt.Outcome.POSTPONED,
        attempts=held.run.attempts - 1,
        next_attempt_at=clock.after(seconds),
        trigger=Attempt.Trigger.RETRY,
    )


def retry(held: Claim, error: BaseException, seconds: float) -> None:
    """The attempt failed and there will be another one ``seconds`` from now."""
    _finish(
        held,
        ReceiverRun.State.RETRYING,
        Attempt.Outcome.FAILED,
        error=error,
        next_attempt_at=clock.after(seconds),
        trigger=Attempt.Trigger.RETRY,
    )


def bury(held: Claim, error: BaseException, *, gave_up: bool = False) -> None:
    """The attempt failed and there will be no other: the run is dead, the delivery failed."""
    outcome = Attempt.Outcome.GAVE_UP if gave_up else Attempt.Outcome.FAILED
    with transaction.atomic(using=alias()):
        _finish(held, ReceiverRun.State.DEAD, outcome, error=error)
        _fail(held.run.delivery_id)


def bury_lost(held: Claim) -> None:
    """The run has killed its workers as often as it may be tried."""
    message = f"no worker survived it in {held.run.attempts - 1} attempts"
    with transaction.atomic(using=alias()):
        held_rows = _held(held).update(
            state=ReceiverRun.State.DEAD,
            attempts=F("attempts") - 1,
            last_error=message,
            lease_until=None,
            finished_at=clock.now(),
        )
        if held_rows:
            _fail(held.run.delivery_id)


def settle(delivery_id: int) -> None:
    """Mark the delivery processed, or failed, once none of its runs is unfinished.

    It never goes back to ``processing``: of two calls at the same time, one with an older view
    changes nothing.
    """
    _settle(Q(pk=delivery_id))


def settle_all() -> int:
    """Settle what a worker left behind that died between its last run and :func:`settle`."""
    return _settle(Q())


def release(result_id: int) -> list[int]:
    """The result file is complete: let the runs that wait for it start. Returns their ids."""
    waiting = _waiting_for(Q(result_id=result_id))
    ids = list(waiting.values_list("pk", flat=True))
    waiting.update(next_attempt_at=clock.now())
    return ids


def unreleased(limit: int) -> list[ResultFile]:
    """Result files that ended while runs still wait for them: the worker died in between."""
    ended = ResultFile.objects.using(alias()).filter(
        state__in=(ResultFile.State.COMPLETE, ResultFile.State.FAILED)
    )
    return list(ended.filter(Exists(_waiting_for(Q(result=OuterRef("pk")))))[:limit])


def bury_waiting(result_id: int, reason: str) -> list[ReceiverRun]:
    """The result file will never come: the runs that wait for it are dead. Returns them."""
    using = alias()
    with transaction.atomic(using=using):
        runs = list(_waiting_for(Q(result_id=result_id)).select_related("delivery"))
        ReceiverRun.objects.using(using).filter(pk__in=[run.pk for run in runs]).update(
            state=ReceiverRun.State.DEAD,
            last_error=storable_text(f"result file: {reason}", MAX_TRACEBACK_LENGTH),
            finished_at=clock.now(),
        )
        if runs:
            _fail(runs[0].delivery_id)
    return runs


def reopen(delivery: WebhookDelivery, runs: Iterable[ReceiverRun], *, actor: str) -> list[int]:
    """Make ``runs`` due again, with all their attempts before them. Returns the ids of those.

    Runs that are being executed are left alone.
    """
    using = alias()
    with transaction.atomic(using=using):
        ids = [run.pk for run in runs]
        free = (
            ReceiverRun.objects.using(using)
            .filter(pk__in=ids)
            .exclude(state=ReceiverRun.State.RUNNING, lease_until__gte=clock.now())
        )
        reopened = list(free.values_list("pk", flat=True))
        free.update(
            state=ReceiverRun.State.PENDING,
            attempts=0,
            claim="",
            lease_until=None,
            finished_at=None,
            next_attempt_at=clock.now(),
            is_replay=True,
            trigger=Attempt.Trigger.REPLAY,
            actor=storable_text(actor, 255),
        )
        if reopened:
            WebhookDelivery.objects.using(using).filter(pk=delivery.pk).update(
                state=WebhookDelivery.State.PROCESSING
            )
    return reopened


def restart(delivery: WebhookDelivery) -> bool:
    """Take a delivery that has no runs back to ``received``, so that it is planned anew."""
    return bool(
        WebhookDelivery.objects.using(alias())
        .filter(pk=delivery.pk, state=WebhookDelivery.State.IGNORED)
        .update(state=WebhookDelivery.State.RECEIVED, sweep_at=clock.now())
    )


def to_dispatch(limit: int, *, overdue_only: bool = True) -> list[int]:
    """Ids of deliveries that were stored but not taken into processing, oldest first.

    Args:
        limit: how many at most.
        overdue_only: leave out those whose hand-off may still be under way.
    """
    received = WebhookDelivery.objects.using(alias()).filter(state=WebhookDelivery.State.RECEIVED)
    if overdue_only:
        received = received.filter(sweep_at__lte=clock.now())
    return list(received.order_by("sweep_at").values_list("pk", flat=True)[:limit])


def handed_off(delivery_ids: Iterable[int]) -> None:
    """The sweeper handed these off: leave them alone for a while."""
    WebhookDelivery.objects.using(alias()).filter(
        pk__in=list(delivery_ids), state=WebhookDelivery.State.RECEIVED
    ).update(sweep_at=clock.after(SWEEP_GRACE_SECONDS))


def runs_due(limit: int, *, overdue_seconds: float = 0) -> list[tuple[int, str]]:
    """``(id, queue)`` of runs to execute now, among them those whose worker is gone.

    Args:
        limit: how many at most.
        overdue_seconds: only those that should have started so long ago.
    """
    due = Q(state__in=WAITING, next_attempt_at__lte=clock.after(-overdue_seconds))
    abandoned = Q(state=ReceiverRun.State.RUNNING, lease_until__lt=clock.now())
    runs = ReceiverRun.objects.using(alias())
    found: list[tuple[int, str]] = []
    # Two queries, as one with OR would use neither index.
    for condition, order in ((abandoned, "lease_until"), (due, "next_attempt_at")):
        left = limit - len(found)
        found += runs.filter(condition).order_by(order).values_list("pk", "queue")[:left]
    return found


def results_due(limit: int, *, overdue_seconds: float = 0) -> list[int]:
    """Ids of result files to fetch now, among them those whose worker is gone."""
    waiting = (ResultFile.State.PENDING, ResultFile.State.RETRYING)
    due = Q(state__in=waiting, next_attempt_at__lte=clock.after(-overdue_seconds))
    abandoned = Q(state=ResultFile.State.FETCHING, lease_until__lt=clock.now())
    results = ResultFile.objects.using(alias())
    found: list[int] = []
    for condition, order in ((abandoned, "lease_until"), (due, "next_attempt_at")):
        left = limit - len(found)
        found += results.filter(condition).order_by(order).values_list("pk", flat=True)[:left]
    return found


def _delivery(
    verified: VerifiedRequest, event: Event | None, endpoint_id: int | None, received_at: datetime
) -> WebhookDelivery:
    delivery = WebhookDelivery(
        webhook_id=verified.webhook_id,
        endpoint_id=endpoint_id,
        signing=verified.signing,
        binding=verified.binding or "",
        sealed=verified.sealed_metadata is not None,
        key_hint=storable_text(verified.key_hint, 255),
        secret_id=verified.secret_id,
        received_at=clock.for_database(received_at),
        body=verified.body,
        size=len(verified.body),
        state=WebhookDelivery.State.UNREADABLE,
    )
    if event is not None:
        delivery.state = WebhookDelivery.State.RECEIVED
        delivery.event_type = storable_text(event.type, 255)
        delivery.resource_id = storable_text(event.resource_id, 255)
        delivery.user_metadata = storable(event.user_metadata)
        delivery.occurred_at = event.occurred_at and clock.for_database(event.occurred_at)
    return delivery


def _pin(verified: VerifiedRequest) -> TokenUse | None:
    """What binds a token to this request alone.

    A token that names only the sender may be reused by Google, if a seal proves the job.
    """
    reusable = verified.binding == "unbound" and verified.sealed_metadata is not None
    if verified.signing != "jwt" or reusable:
        return None
    return TokenUse(
        token_digest=verified.token_digest,
        webhook_id=verified.webhook_id,
        body_digest=sha256(verified.body).hexdigest(),
    )


def _statement(using: str, *, pinned: bool) -> AbstractContextManager[object]:
    """A transaction where one is needed: two rows, or a failure inside of somebody else's."""
    if pinned or transaction.get_connection(using).in_atomic_block:
        return transaction.atomic(using=using)
    return nullcontext()


def _duplicate_of(verified: VerifiedRequest, using: str) -> int:
    """Count the duplicate and return the id of the delivery that it repeats.

    Raises:
        Unauthorised: it is no duplicate but the reuse of a token.
        IntegrityError: it is neither, so it was not stored.
    """
    pin = _pin(verified)
    used = pin and TokenUse.objects.using(using).filter(token_digest=pin.token_digest).first()
    if pin and used and (used.webhook_id, used.body_digest) != (pin.webhook_id, pin.body_digest):
        raise Unauthorised("token_reused", "the token was used for another webhook id or body")
    same = WebhookDelivery.objects.using(using).filter(webhook_id=verified.webhook_id)
    if not same.update(duplicate_count=F("duplicate_count") + 1):
        raise IntegrityError("neither stored nor a duplicate") from None
    if pin and not used:
        # A retry with a token of its own: from now on that one is used up as well.
        TokenUse.objects.using(using).bulk_create([pin], ignore_conflicts=True)
    return same.values_list("pk", flat=True).get()


def _held(held: Claim) -> QuerySet[ReceiverRun]:
    return ReceiverRun.objects.using(alias()).filter(
        pk=held.run.pk, state=ReceiverRun.State.RUNNING, claim=held.token
    )


def _finish(
    held: Claim,
    state: str,
    outcome: str,
    *,
    error: BaseException | None = None,
    **changes: object,
) -> None:
    using = alias()
    if error is not None:
        changes["last_error"] = _summary(error)
    if state in (ReceiverRun.State.SUCCEEDED, ReceiverRun.State.DEAD):
        changes["finished_at"] = clock.now()
    with transaction.atomic(using=using):
        if not _held(held).update(state=state, lease_until=None, **changes):
            raise LeaseLost
        _log(held.run, outcome, error=error, using=using)


def _log(run: ReceiverRun, outcome: str, *, using: str, error: BaseException | None = None) -> None:
    last = Attempt.objects.using(using).filter(run=run).aggregate(last=Max("number"))["last"]
    Attempt.objects.using(using).create(
        run=run,
        number=(last or 0) + 1,
        trigger=run.trigger,
        actor=run.actor,
        started=run.claimed_at or clock.now(),
        finished=clock.now(),
        outcome=outcome,
        error_class=_class_name(error)[:255] if error else "",
        traceback=_traceback(error) if error else "",
    )


def _class_name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


def _summary(error: BaseException) -> str:
    return storable_text(f"{_class_name(error)}: {error}", 2000)


def _traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    return storable_text(text[-MAX_TRACEBACK_LENGTH:], MAX_TRACEBACK_LENGTH)


def _fail(delivery_id: int) -> None:
    WebhookDelivery.objects.using(alias()).filter(pk=delivery_id).update(
        state=WebhookDelivery.State.FAILED
    )


def _settle(which: Q) -> int:
    using = alias()
    runs = ReceiverRun.objects.using(using).filter(delivery=OuterRef("pk"))
    open_deliveries = WebhookDelivery.objects.using(using).filter(
        which, state=WebhookDelivery.State.PROCESSING
    )
    return open_deliveries.filter(~Exists(runs.filter(state__in=UNFINISHED))).update(
        state=Case(
            When(
                Exists(runs.filter(state=ReceiverRun.State.DEAD)),
                then=Value(WebhookDelivery.State.FAILED),
            ),
            default=Value(WebhookDelivery.State.PROCESSED),
        )
    )


def _waiting_for(which: Q) -> QuerySet[ReceiverRun]:
    return ReceiverRun.objects.using(alias()).filter(
        which, state=ReceiverRun.State.PENDING, next_attempt_at=None, result__isnull=False
    )


def _settle_job(delivery: WebhookDelivery, event: Event, using: str) -> None:
    if event.known is None or not event.resource_id:
        return
    bare = event.resource_id.rpartition("/")[2]
    Job.objects.using(using).filter(resource_id__in={event.resource_id, bare}).update(
        state=event.known.job_state, delivery=delivery
    )


def _touch(delivery: WebhookDelivery, using: str) -> None:
    """Note when endpoint and secret were last used; not on every delivery, to spare the rows."""
    seen = delivery.received_at
    stale = clock.after(-TOUCH_SECONDS)
    if delivery.endpoint_id:
        WebhookEndpoint.objects.using(using).filter(
            Q(last_delivery_at=None) | Q(last_delivery_at__lt=stale), pk=delivery.endpoint_id
        ).update(last_delivery_at=seen)
    if delivery.secret_id:
        SigningSecret.objects.using(using).filter(
            Q(last_used_at=None) | Q(last_used_at__lt=stale), pk=delivery.secret_id
        ).update(last_used_at=seen)
