"""Erases one delivery on request: also one that is not finished, which then never will be."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q

from gemini_webhooks import clock
from gemini_webhooks.deliveries.common import NOT_HELD, UNFINISHED, alias, done_now, rows
from gemini_webhooks.events import bare_id
from gemini_webhooks.models import Attempt, Job, ReceiverRun, ResultFile, WebhookDelivery

ERASED = "erased on request before it had run"
ERASED_CLASS = "erased"
OPEN = (WebhookDelivery.State.RECEIVED, WebhookDelivery.State.PROCESSING)


def is_in_work(delivery_id: int) -> bool:
    """Whether a worker has the delivery's content in hand, and may write of it yet."""
    being_done = Q(lease_until__gte=clock.now())
    runs = rows(ReceiverRun).filter(being_done, state=ReceiverRun.State.RUNNING)
    results = rows(ResultFile).filter(being_done, state=ResultFile.State.FETCHING)
    return any(found.filter(delivery=delivery_id).exists() for found in (runs, results))


def erase(delivery_id: int) -> bool:
    """Remove all that a delivery, its runs and its results say; ids and times stay.

    What is stored of its results has to be deleted before.

    Returns:
        ``False``: a worker is at it at this moment, and nothing was changed.
    """
    with transaction.atomic(using=alias()):
        # Held in this order by whoever takes it into processing, too.
        rows(WebhookDelivery).select_for_update().get(pk=delivery_id)
        own_runs = rows(ReceiverRun).filter(delivery=delivery_id)
        runs = list(own_runs.select_for_update().defer("last_error"))
        own_results = rows(ResultFile).filter(delivery=delivery_id)
        list(own_results.select_for_update().values_list("pk"))
        if is_in_work(delivery_id):
            return False
        own_runs.update(last_error="")
        open_runs = own_runs.filter(state__in=UNFINISHED)
        open_runs.update(
            state=ReceiverRun.State.DEAD,
            last_error=ERASED,
            error_class=ERASED_CLASS,
            claim="",
            lease_until=None,
            lane="",
            parked_at=None,
            next_attempt_at=None,
            finished_at=clock.now(),
            **NOT_HELD,
        )
        rows(Attempt).filter(run__in=[run.pk for run in runs]).update(traceback="")
        _erase_results(delivery_id)
        delivery = rows(WebhookDelivery).filter(pk=delivery_id)
        delivery.filter(state__in=OPEN).update(**done_now())
        delivery.update(
            body=None,
            user_metadata={},
            headers=None,
            emptied_at=clock.now(),
            emptied_by=WebhookDelivery.EmptiedBy.ERASURE,
            state=_state_after(delivery_id),
            sweep_at=None,
        )
    return True


def erase_jobs(ids: list[int]) -> int:
    """Remove the metadata of jobs, ended or not, and what Google said of them. How many had any."""
    found = rows(Job).filter(pk__in=ids).exclude(user_metadata={}, last_error="")
    return (
        rows(Job)
        .filter(pk__in=list(found.values_list("pk", flat=True)))
        .update(user_metadata={}, last_error="")
    )


def jobs_of(*names: str) -> list[int]:
    """Ids of the jobs with a resource id, however it is written."""
    spelled = {*names, *(bare_id(name) for name in names)}
    return list(rows(Job).filter(resource_id__in=spelled).values_list("pk", flat=True))


def _erase_results(delivery_id: int) -> None:
    results = rows(ResultFile).filter(delivery=delivery_id)
    results.update(error="", source_uri="", file="")
    results.exclude(state=ResultFile.State.FAILED).update(
        state=ResultFile.State.REMOVED, claim="", lease_until=None, next_attempt_at=None
    )


def _state_after(delivery_id: int) -> str:
    """What it is once nothing is left to be done."""
    delivery = rows(WebhookDelivery).only("state").get(pk=delivery_id)
    if delivery.state == WebhookDelivery.State.RECEIVED:
        return WebhookDelivery.State.UNREADABLE
    if delivery.state == WebhookDelivery.State.PROCESSING:
        dead = rows(ReceiverRun).filter(delivery=delivery_id, state=ReceiverRun.State.DEAD)
        has_failed = dead.exists()
        return WebhookDelivery.State.FAILED if has_failed else WebhookDelivery.State.PROCESSED
    return delivery.state
