"""What retention takes away: contents first, rows later. What is not finished stays.

What is old is read without locks, then written by primary key and only while it still is as it
was read. So these statements lock nothing but old rows, and none for long; a request that stores
a new one meets no lock of theirs, not even in the gaps that MariaDB and MySQL lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connections, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from gemini_webhooks import clock
from gemini_webhooks.deliveries.common import UNFINISHED, ModelType, alias, rows
from gemini_webhooks.models import Attempt, Job, Lane, ReceiverRun, ResultFile, TokenUse
from gemini_webhooks.models import WebhookDelivery as Delivery

FINISHED = (
    Delivery.State.PROCESSED,
    Delivery.State.FAILED,
    Delivery.State.IGNORED,
    Delivery.State.UNREADABLE,
)
#: Nobody may ever ask for the receivers of a recording.
DONE = Q(state__in=FINISHED) | Q(
    state=Delivery.State.RECEIVED, source=Delivery.Source.RECORDING, sweep_at=None
)
#: A result in one of these is neither on its way nor stored.
WITHOUT_FILE = (ResultFile.State.FAILED, ResultFile.State.REMOVED)
ENDED_JOBS = tuple(
    state
    for state in Job.State.values
    if state not in (Job.State.SUBMITTED, Job.State.REQUIRES_ACTION)
)
#: Ids in one statement: every SQLite takes so many.
MOST_IDS = 900


@dataclass(frozen=True, kw_only=True)
class Place:
    """A row on the way through many: the next ones come after it."""

    at: Any
    pk: Any


def page(found: QuerySet[Any], column: str, after: Place | None, size: int) -> list[Place]:
    """The next ``size`` rows of ``found`` in the order of ``column``, which an index has."""
    if after is not None:
        beyond = Q(**{f"{column}__gt": after.at}) | Q(**{column: after.at, "pk__gt": after.pk})
        # The first condition is what the index is entered by; databases do not see it in an OR.
        found = found.filter(**{f"{column}__gte": after.at}).filter(beyond)
    found = found.order_by(column, "pk")
    return [Place(at=at, pk=pk) for at, pk in found.values_list(column, "pk")[:size]]


def with_content(before: datetime) -> QuerySet[Delivery]:
    """Deliveries received before a moment that still have their content, finished or not."""
    return rows(Delivery).filter(emptied_at=None, received_at__lt=before)


def received(before: datetime) -> QuerySet[Delivery]:
    """Deliveries received before a moment, finished or not."""
    return rows(Delivery).filter(received_at__lt=before)


def finished(deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Those of which nothing is left to be done: no run, and no result to fetch."""
    runs = rows(ReceiverRun).filter(delivery=OuterRef("pk"), state__in=UNFINISHED)
    results = rows(ResultFile).filter(delivery=OuterRef("pk"))
    done = (ResultFile.State.COMPLETE, *WITHOUT_FILE)
    return deliveries.filter(DONE, ~Exists(runs), ~Exists(results.exclude(state__in=done)))


def without_file(
    deliveries: QuerySet[Delivery], *, gone_before: datetime | None = None
) -> QuerySet[Delivery]:
    """Those of which no result file is stored: it goes by its own period, and its row with it.

    Args:
        deliveries: among these.
        gone_before: take files that were stored before this moment for removed.
    """
    stored = rows(ResultFile).filter(delivery=OuterRef("pk"), state=ResultFile.State.COMPLETE)
    if gone_before is not None:
        stored = stored.exclude(finished_at__lt=gone_before)
    return deliveries.filter(~Exists(stored))


def empty(ids: Sequence[int]) -> int:
    """Remove the content of those deliveries that are finished. Returns of how many.

    The content is the body, the metadata, and what may quote them: errors, tracebacks, and the
    metadata of the job that has ended. Ids stay, so that a repetition is known for one.
    """
    ids = list(finished(rows(Delivery).filter(pk__in=ids)).order_by().values_list("pk", flat=True))
    _empty_errors(ids)
    ended = rows(Job).filter(delivery_id__in=ids, state__in=ENDED_JOBS)
    empty_jobs(ended.order_by().values_list("pk", flat=True))
    # Last, as it says that the rest is done. Whatever is to be done again is not finished.
    still = rows(Delivery).filter(DONE, pk__in=ids, emptied_at=None)
    return still.update(
        body=None,
        user_metadata={},
        emptied_at=clock.now(),
        emptied_by=Delivery.EmptiedBy.RETENTION,
    )


def lost_jobs_with_content(before: datetime) -> QuerySet[Job]:
    """Jobs that were given up before a moment and have metadata: no delivery will take it along."""
    lost = rows(Job).filter(state=Job.State.LOST, due_at__lt=before, submitted_at__lt=before)
    return lost.exclude(user_metadata={})


def empty_jobs(ids: Sequence[int] | QuerySet[Any, int]) -> int:
    """Remove the metadata of jobs. Returns of how many."""
    found = rows(Job).filter(pk__in=list(ids)).exclude(user_metadata={})
    return (
        rows(Job)
        .filter(pk__in=list(found.order_by().values_list("pk", flat=True)))
        .update(user_metadata={})
    )


def delete(ids: Sequence[int]) -> tuple[int, int]:
    """Delete those deliveries that are finished, with their runs, attempts and results.

    Returns:
        How many were deleted, and how many the site's own tables do not let go.
    """
    gone = without_file(finished(rows(Delivery).filter(pk__in=ids)))
    ids = list(gone.order_by().values_list("pk", flat=True))
    try:
        return _delete(ids), 0
    except IntegrityError:  # ProtectedError and RestrictedError are such
        if len(ids) < 2:
            return 0, len(ids)
    deleted = held = 0
    for one in ids:
        counts = delete([one])
        deleted, held = deleted + counts[0], held + counts[1]
    return deleted, held


def ended_tokens(before: datetime, unknown_before: datetime | None) -> QuerySet[TokenUse]:
    """Uses of tokens that are refused by now for their age, so that nobody can use them again.

    Args:
        before: tokens that were used later, or end later, may still be accepted.
        unknown_before: the same for those of which older versions did not note the end; ``None``
            keeps them.
    """
    ended = Q(expires_at__lt=before)
    if unknown_before is not None:
        ended |= Q(expires_at=None, used_at__lt=unknown_before)
    return rows(TokenUse).filter(ended, used_at__lt=before)


def ended_jobs(
    state: str, before: datetime, *, gone: QuerySet[Delivery] | None = None
) -> QuerySet[Job]:
    """Jobs that ended so before a moment, and of which no delivery is left.

    Args:
        state: one of the ends.
        before: the moment.
        gone: take these deliveries for deleted.
    """
    ended = rows(Job).filter(state=state, due_at__lt=before, submitted_at__lt=before)
    is_alone = Q(delivery=None)
    return ended.filter(is_alone if gone is None else is_alone | Q(delivery__in=gone))


def unused_lanes(before: datetime) -> QuerySet[Lane]:
    """Lanes that no run was put into since a moment, and that none is in."""
    inside = rows(ReceiverRun).filter(lane=OuterRef("name"))
    return rows(Lane).filter(~Exists(inside), used_at__lt=before)


def date_lanes() -> None:
    """From now on count the time of lanes of which the version before did not note the use."""
    rows(Lane).filter(used_at=None).update(used_at=clock.now())


def delete_lanes(names: Sequence[str], before: datetime) -> int:
    """Delete lanes, unless they were used since."""
    return _count(rows(Lane).filter(pk__in=names, used_at__lt=before).delete(), Lane)


def delete_rows(model: type[ModelType], ids: Sequence[Any]) -> int:
    """Delete rows that nothing of ours refers to. Returns how many."""
    return _count(rows(model).filter(pk__in=ids).delete(), model)


def _empty_errors(ids: Sequence[int]) -> None:
    runs = list(
        rows(ReceiverRun).filter(delivery_id__in=ids).order_by().values_list("pk", flat=True)
    )
    results = rows(ResultFile).filter(delivery_id__in=ids).order_by().values_list("pk", flat=True)
    _clear(ReceiverRun, "last_error", "pk", runs)
    _clear(Attempt, "traceback", "run_id", runs)
    _clear(ResultFile, "error", "pk", list(results))


def _clear(model: type[ModelType], column: str, key: str, ids: Sequence[int]) -> None:
    """Empty a column of text; most rows have nothing in it, and are not written."""
    for start in range(0, len(ids), MOST_IDS):
        found = rows(model).filter(**{f"{key}__in": ids[start : start + MOST_IDS]})
        filled = list(found.exclude(**{column: ""}).order_by().values_list("pk", flat=True))
        for first in range(0, len(filled), MOST_IDS):
            part = filled[first : first + MOST_IDS]
            rows(model).filter(pk__in=part).update(**{column: ""})


def _delete(ids: Sequence[int]) -> int:
    can_pass_over = connections[alias()].features.has_select_for_update_skip_locked
    with transaction.atomic(using=alias()):
        # Held, so that no replay begins what is about to go.
        still = rows(Delivery).filter(DONE, pk__in=ids).order_by("pk")
        held = list(still.select_for_update(skip_locked=can_pass_over).values_list("pk", flat=True))
        # Django knows what else refers to them, in tables of the site too.
        return _count(rows(Delivery).filter(pk__in=held).only("pk").delete(), Delivery)


def _count(deleted: tuple[int, dict[str, int]], model: type[ModelType]) -> int:
    return deleted[1].get(model._meta.label, 0)
