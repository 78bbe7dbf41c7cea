"""Erases on request what belongs to a resource or to a value of the metadata, such as a tenant.

What is erased cannot be found again by its metadata. So of things that belong together the one
that the search went by goes last: whoever was interrupted finds the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from django.db.models import QuerySet
from django.utils.crypto import salted_hmac

from gemini_webhooks import clock, deliveries, logs, redaction
from gemini_webhooks.deliveries import replays, rows
from gemini_webhooks.deliveries.removal import MOST_IDS
from gemini_webhooks.events import bare_id
from gemini_webhooks.exceptions import ConfigurationError, GeminiWebhooksError
from gemini_webhooks.models import Erasure, Job, ResultFile, WebhookDelivery
from gemini_webhooks.results import removal as result_files
from gemini_webhooks.retention.pace import patiently
from gemini_webhooks.retention.pruning import Tell
from gemini_webhooks.storable import storable_text

logger = logs.get_logger(__name__)

SALT = "gemini_webhooks.erasure"
MAX_LENGTH = 255
#: The audit row is brought up to date after so many deliveries, should it be interrupted.
NOTE_EVERY = 50


class NoTarget(GeminiWebhooksError):
    """What is to be erased was not said in a way that can be understood."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be erased; made by :func:`about_resource` or :func:`with_metadata`."""

    kind: Literal["resource", "metadata"]
    subject: str
    value: str = field(default="", repr=False)

    def matches(self, metadata: Any) -> bool:
        """Whether the value is in ``metadata``, at the place that ``subject`` names."""
        path = redaction.read(self.subject)
        return any(self._is_value(found) for found in _at(metadata, tuple(path)))

    def names(self, path: str, value: str) -> bool:
        """Whether it is what somebody asked for with this value at this path."""
        same = self.kind == "metadata" and redaction.read(path) == redaction.read(self.subject)
        return same and value == self.value

    def _is_value(self, found: Any) -> bool:
        return (found if isinstance(found, str) else json.dumps(found)) == self.value


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was erased, or would be.

    Attributes:
        deliveries: with their runs, attempts and results.
        results: result files that were stored, among these.
        jobs: of the ledger.
        awaited: jobs among these that have not ended: their events are still to come.
        left: deliveries that a worker is at, or of which the storage did not delete a file. Repeat
            it.
    """

    deliveries: int = 0
    results: int = 0
    jobs: int = 0
    awaited: int = 0
    left: int = 0


def about_resource(resource_id: str) -> Target:
    """All that is about a batch, an interaction or an operation.

    Raises:
        NoTarget: it is empty, or longer than any.
    """
    if not bare_id(resource_id) or len(resource_id) > MAX_LENGTH:
        raise NoTarget("A resource id such as batches/abc is needed.")
    return Target(kind="resource", subject=resource_id)


def with_metadata(condition: str) -> Target:
    """All whose metadata has a value at a path: ``tenant=acme``, ``customer.id=7``.

    Raises:
        NoTarget: it is not of this form.
    """
    path, equals, value = condition.partition("=")
    try:
        steps = redaction.read(path)
    except ConfigurationError:
        steps = ""
    if not equals or not isinstance(steps, tuple) or len(path) > MAX_LENGTH:
        raise NoTarget("A path within the metadata and its value are needed, as in tenant=acme.")
    return Target(kind="metadata", subject=path, value=value)


def preview(target: Target) -> Erased:
    """What :func:`erase` would erase now; nothing is changed.

    Raises:
        django.db.Error: the database did not answer.
    """
    found_deliveries: set[int] = set()
    found_jobs: set[int] = set()
    for group in _groups(target):
        for model, pk in group:
            (found_deliveries if model is WebhookDelivery else found_jobs).add(pk)
    ids = sorted(found_deliveries)
    return Erased(
        deliveries=len(ids),
        results=sum(_stored(ids[at : at + MOST_IDS]) for at in range(0, len(ids), MOST_IDS)),
        jobs=len(found_jobs),
        awaited=_awaited(found_jobs),
        left=sum(deliveries.is_in_work(pk) for pk in ids),
    )


def erase(target: Target, *, actor: str, tell: Tell = lambda *_: None) -> Erased:
    """Remove bodies, metadata, errors, tracebacks and result files; ids and times stay.

    Also of what is not finished: its runs then are dead. That it was done is written down,
    without a word of what was erased. Replays that were asked for with the same value forget
    what they were asked for. It may be interrupted, and repeated.

    Args:
        target: what.
        actor: who asked for it, for the audit.
        tell: called with the kind and how much of it is done.

    Raises:
        django.db.Error: the database did not answer.
    """
    audit = rows(Erasure).create(
        kind=target.kind,
        subject=storable_text(target.subject, MAX_LENGTH),
        digest=_digest(target.value) if target.kind == "metadata" else "",
        actor=storable_text(actor, MAX_LENGTH),
    )
    work = _Work(audit, tell)
    for group in _groups(target):
        work.on(group)
    for pk, asked in replays.asking_for_metadata():
        if any(target.names(path, value) for path, value in asked.items()):
            replays.forget_selection(pk, actor=actor)
    return work.end()


Member = tuple[type[WebhookDelivery] | type[Job], int]


class _Work:
    """What was erased so far, and the audit row of it."""

    def __init__(self, audit: Erasure, tell: Tell) -> None:
        self._audit = audit
        self._tell = tell
        self._results = 0
        self._deliveries: set[int] = set()
        self._left: set[int] = set()
        self._jobs: set[int] = set()

    def on(self, group: list[Member]) -> None:
        """Erase what belongs together, in this order; what cannot be erased keeps what follows."""
        for model, pk in group:
            if model is Job:
                patiently(partial(deliveries.erase_jobs, [pk]))
                self._jobs.add(pk)
            elif pk not in self._deliveries and not self._erase(pk):
                self._left.add(pk)
                return

    def end(self) -> Erased:
        """Note that it is done."""
        self._audit.finished_at = clock.now()
        self._note()
        erased = Erased(
            deliveries=len(self._deliveries),
            results=self._results,
            jobs=len(self._jobs),
            awaited=_awaited(self._jobs),
            left=len(self._left),
        )
        logger.warning(
            "erasure %s by %s: %s deliveries, %s result files, %s jobs, %s left over",
            self._audit.pk,
            self._audit.actor,
            erased.deliveries,
            erased.results,
            erased.jobs,
            erased.left,
        )
        return erased

    def _erase(self, pk: int) -> bool:
        if deliveries.is_in_work(pk):
            return False
        for result in list(rows(ResultFile).filter(delivery=pk)):
            had_file = bool(result.file)
            if not result_files.delete_file(result):
                return False
            self._results += had_file
        if not patiently(partial(deliveries.erase, pk)):
            return False
        self._deliveries.add(pk)
        if len(self._deliveries) % NOTE_EVERY == 0:
            self._note()
        self._tell("deliveries", len(self._deliveries))
        return True

    def _note(self) -> None:
        self._audit.deliveries = len(self._deliveries)
        self._audit.results, self._audit.jobs = self._results, len(self._jobs)
        self._audit.left = len(self._left)
        self._audit.save(using=deliveries.alias())


def _groups(target: Target) -> Iterator[list[Member]]:
    """What belongs together, what it was found by last."""
    if target.kind == "resource":
        for pk in _about(target.subject):
            yield [(WebhookDelivery, pk)]
        yield [(Job, pk) for pk in deliveries.jobs_of(target.subject)]
        return
    for pk, resource_id in _matching(WebhookDelivery, target):
        others: list[Member] = [(WebhookDelivery, one) for one in _about(resource_id) if one != pk]
        jobs: list[Member] = [(Job, one) for one in deliveries.jobs_of(resource_id)]
        yield [*others, *jobs, (WebhookDelivery, pk)]
    for pk, resource_id in _matching(Job, target):
        yield [*((WebhookDelivery, one) for one in _about(resource_id)), (Job, pk)]


def _about(resource_id: str) -> list[int]:
    """Ids of deliveries about a resource that have not been erased before."""
    if not resource_id:
        return []
    found = deliveries.about(resource_id)
    found = found.exclude(emptied_by=WebhookDelivery.EmptiedBy.ERASURE).order_by("pk")
    bare = bare_id(resource_id)
    return [pk for pk, name in found.values_list("pk", "resource_id") if bare_id(name) == bare]


def _matching(model: type[WebhookDelivery | Job], target: Target) -> Iterator[tuple[int, str]]:
    """``(id, resource id)`` of rows whose metadata match; databases compare JSON each their way."""
    after = 0
    while True:
        following: QuerySet[Any] = rows(model).filter(pk__gt=after).order_by("pk")
        columns = following.values_list("pk", "resource_id", "user_metadata")
        batch = list(columns[:MOST_IDS])
        if not batch:
            return
        for pk, resource_id, metadata in batch:
            if target.matches(metadata):
                yield pk, resource_id
        after = batch[-1][0]


def _at(value: Any, path: tuple[Any, ...]) -> Iterator[Any]:
    """The values that a path leads to."""
    if not path:
        yield value
        return
    step, *rest = path
    members: list[Any] = []
    if isinstance(value, dict):
        members = list(value.values()) if step is redaction.ANY_KEY else []
        members += [value[step]] if isinstance(step, str) and step in value else []
    elif isinstance(value, list):
        members = value if step is redaction.ANY_ITEM else []
        members = value[step : step + 1] if isinstance(step, int) else members
    for member in members:
        yield from _at(member, tuple(rest))


def _stored(ids: list[int]) -> int:
    return rows(ResultFile).filter(delivery__in=ids).exclude(file="").count()


def _awaited(jobs: set[int]) -> int:
    """How many of some jobs have not ended."""
    ids = sorted(jobs)
    awaiting = (Job.State.SUBMITTED, Job.State.REQUIRES_ACTION)
    return sum(
        rows(Job).filter(pk__in=ids[at : at + MOST_IDS], state__in=awaiting).count()
        for at in range(0, len(ids), MOST_IDS)
    )


def _digest(value: str) -> str:
    return salted_hmac(SALT, value, algorithm="sha256").hexdigest()
