"""What is told about a delivery on its page: read once, in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.admin.badges import badge
from gemini_webhooks.admin.base import excerpt, may_see_payload, may_view
from gemini_webhooks.admin.previews import preview_block
from gemini_webhooks.admin.results import ResultShows
from gemini_webhooks.admin.runs import AttemptShows, RunShows
from gemini_webhooks.admin.times import moment, span
from gemini_webhooks.deliveries import spellings
from gemini_webhooks.models import Attempt, Job, ReceiverRun, Replay, ReplayedDelivery, ResultFile
from gemini_webhooks.models import WebhookDelivery as Delivery

#: The newest of each; their own pages and lists have all.
MOST_ATTEMPTS, MOST_REPLAYS, MOST_OTHERS, MOST_PREVIEWS = 100, 20, 5, 5

WHY_NO_RUNS: Mapping[str, Promise] = {
    Delivery.State.RECEIVED: _("It has not been processed yet."),
    Delivery.State.IGNORED: _("No receiver was connected when it was processed."),
    Delivery.State.UNREADABLE: _("Receivers are not run for a body that is not JSON."),
}

HAS_OR_HAD_FILE = (ResultFile.State.COMPLETE, ResultFile.State.REMOVED)
ENDED = (Delivery.State.PROCESSED, Delivery.State.FAILED)

Link = Callable[[Model], str]
RUN, ATTEMPT, RESULT = RunShows(), AttemptShows(), ResultShows()


@dataclass(frozen=True, kw_only=True)
class AttemptTold:
    """One try."""

    number: int
    url: str
    outcome: SafeString
    cause: str
    actor: str
    started: str
    took: str
    error: SafeString | str


@dataclass(frozen=True, kw_only=True)
class RunTold:
    """A receiver with its attempts.

    Attributes:
        waits: for what, if it does.
        attempts: ``None`` if the user may not see any.
    """

    receiver: str
    url: str
    state: SafeString
    waits: str | Promise
    error: str
    attempts: Sequence[AttemptTold] | None


@dataclass(frozen=True, kw_only=True)
class ResultTold:
    """A result file.

    Attributes:
        percent: of it is fetched; ``None`` if that is not known, or it is done.
        rows: how many; ``None`` if they were not counted yet.
        preview: ``None`` if it is on the result's own page only.
    """

    source: str
    url: str
    state: SafeString
    progress: str
    percent: int | None
    rows: int | None
    failed_rows: int
    error: str
    download: SafeString | str | Promise
    preview: SafeString | None


@dataclass(frozen=True, kw_only=True)
class ReplayTold:
    """Who had it run again, and what came of it."""

    label: str
    url: str
    actor: str
    at: str
    what: str
    reason: str
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Related:
    """Another delivery about the same resource, or its entry in the ledger."""

    label: str
    url: str
    state: SafeString
    at: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """All of it; ``None`` stands for what the user may not see.

    Attributes:
        lead: how it stands, in a sentence or two.
        why_no_runs: if there are none.
        is_cut: not all attempts are told.
        has_more: there are more deliveries about the resource than those in ``others``.
    """

    state: SafeString
    lead: str
    runs: Sequence[RunTold] | None
    why_no_runs: str | Promise
    is_cut: bool
    results: Sequence[ResultTold] | None
    may_see_rows: bool
    replays: Sequence[ReplayTold] | None
    others: Sequence[Related]
    has_more: bool
    jobs: Sequence[Related] | None


def tell(delivery: Delivery, request: HttpRequest, link: Link) -> Story:
    """Read what there is about a delivery.

    Args:
        delivery: whose page it is.
        request: of the user who looks at it.
        link: gives the address of a row's page.
    """
    runs = list(delivery.runs.all()) if may_view(request, ReceiverRun) else None
    attempts = None
    if runs is not None and may_view(request, Attempt):
        attempts = _attempts(runs)
    others = _others(delivery)
    return Story(
        state=badge(delivery.state, delivery.get_state_display()),
        lead=_lead(delivery, runs),
        runs=None if runs is None else [_run(run, attempts, link) for run in runs],
        why_no_runs=_why_no_runs(delivery),
        is_cut=attempts is not None and len(attempts) > MOST_ATTEMPTS,
        results=_results(delivery, request, link),
        may_see_rows=may_see_payload(request),
        replays=_replays(delivery, link) if may_view(request, Replay) else None,
        others=[_related(other, other.event_type, other.received_at, link) for other in others][
            :MOST_OTHERS
        ],
        has_more=len(others) > MOST_OTHERS,
        jobs=_jobs(delivery, link) if may_view(request, Job) else None,
    )


def _lead(delivery: Delivery, runs: Sequence[ReceiverRun] | None) -> str:
    """How it stands: what an operator wants to know first."""
    state = delivery.state
    is_recording = delivery.source == Delivery.Source.RECORDING
    if state == Delivery.State.RECEIVED and is_recording and delivery.sweep_at is None:
        return gettext("It was loaded from a recording, and nobody has asked for its receivers.")
    if state == Delivery.State.RECEIVED:
        since = span(clock.now() - delivery.received_at)
        return gettext("It was stored %(since)s ago and waits to be processed.") % {"since": since}
    if state in (Delivery.State.IGNORED, Delivery.State.UNREADABLE) or runs == []:
        return str(_why_no_runs(delivery))
    if runs is None:
        return _when_done(delivery)
    return " ".join(filter(None, [*_by_state(runs), _when_done(delivery)]))


def _by_state(runs: Sequence[ReceiverRun]) -> Iterable[str]:
    State = ReceiverRun.State  # noqa: N806  # a class
    for run in runs:
        if run.state == State.DEAD:
            about = {"receiver": run.receiver, "error": run.error_class or excerpt(run.last_error)}
            yield gettext("%(receiver)s gave up: %(error)s.") % about
    done = sum(run.state == State.SUCCEEDED for run in runs)
    numbers = {"done": done, "number": len(runs)}
    if done == len(runs):
        yield ngettext("Its receiver succeeded.", "All %(number)d receivers succeeded.", done) % (
            numbers
        )
    elif len(runs) > 1:
        yield gettext("%(done)d of %(number)d receivers succeeded.") % numbers
    waiting = sum(run.state in (State.PENDING, State.RETRYING) for run in runs)
    if waiting:
        told = ngettext("%(number)d receiver waits.", "%(number)d receivers wait.", waiting)
        yield told % {"number": waiting}
    running = sum(run.state == State.RUNNING for run in runs)
    if running:
        told = ngettext("%(number)d receiver runs.", "%(number)d receivers run.", running)
        yield told % {"number": running}


def _when_done(delivery: Delivery) -> str:
    if delivery.took is None or delivery.state not in ENDED:
        return ""
    return gettext("It was done %(span)s after it was received.") % {"span": span(delivery.took)}


def _why_no_runs(delivery: Delivery) -> str | Promise:
    if delivery.emptied_at and delivery.state == Delivery.State.UNREADABLE:
        return _("Receivers are not run without a body.")
    return WHY_NO_RUNS.get(delivery.state, _("No receiver has run."))


def _attempts(runs: Sequence[ReceiverRun]) -> list[Attempt]:
    """Newest first, one more than are told."""
    found = Attempt.objects.filter(run__in=runs).order_by("-pk")
    return list(found[: MOST_ATTEMPTS + 1])


def _run(run: ReceiverRun, attempts: Sequence[Attempt] | None, link: Link) -> RunTold:
    own = None
    if attempts is not None:
        newest_last = reversed(attempts[:MOST_ATTEMPTS])
        own = [_attempt(one, link) for one in newest_last if one.run_id == run.pk]
    is_waiting = run.state in (ReceiverRun.State.PENDING, ReceiverRun.State.RETRYING)
    return RunTold(
        receiver=run.receiver,
        url=link(run),
        state=RUN.state_badge(run),
        waits=RUN.next_attempt(run) if is_waiting else "",
        error=excerpt(run.last_error) if run.last_error else "",
        attempts=own,
    )


def _attempt(attempt: Attempt, link: Link) -> AttemptTold:
    return AttemptTold(
        number=attempt.number,
        url=link(attempt),
        outcome=ATTEMPT.outcome_badge(attempt),
        cause=attempt.get_trigger_display(),
        actor=attempt.actor,
        started=moment(attempt.started),
        took=ATTEMPT.duration(attempt),
        error=ATTEMPT.folded_traceback(attempt) if attempt.traceback else attempt.error_class,
    )


def _results(delivery: Delivery, request: HttpRequest, link: Link) -> list[ResultTold] | None:
    if not may_view(request, ResultFile):
        return None
    may_see_rows = may_see_payload(request)
    told = []
    for number, result in enumerate(delivery.results.order_by("position")):
        is_there = result.state == ResultFile.State.COMPLETE
        may_preview = may_see_rows and number < MOST_PREVIEWS
        has_download = may_see_rows and result.state in HAS_OR_HAD_FILE
        told.append(
            ResultTold(
                source=result.source_uri,
                url=link(result),
                state=RESULT.state_badge(result),
                progress=RESULT.progress(result),
                percent=_percent(result),
                rows=int(result.rows) if is_there or int(result.rows) else None,
                failed_rows=result.failed_rows,
                error=excerpt(result.error) if result.error else "",
                download=RESULT.download(result) if has_download else "",
                preview=preview_block(result) if may_preview and is_there else None,
            )
        )
    return told


def _percent(result: ResultFile) -> int | None:
    if not result.size or result.state != ResultFile.State.FETCHING:
        return None
    return min(100, 100 * result.bytes_done // result.size)


def _replays(delivery: Delivery, link: Link) -> list[ReplayTold]:
    found = ReplayedDelivery.objects.filter(delivery=delivery).select_related("replay")
    return [_replay(one, link) for one in found.order_by("-pk")[:MOST_REPLAYS]]


def _replay(told: ReplayedDelivery, link: Link) -> ReplayTold:
    replay = told.replay
    what = replay.get_what_display()
    if replay.what == Replay.What.RECEIVERS and isinstance(replay.receivers, list):
        what = ", ".join(map(str, replay.receivers))
    outcome = ngettext("%(number)d receiver", "%(number)d receivers", told.runs)
    return ReplayTold(
        label=str(replay),
        url=link(replay),
        actor=replay.actor,
        at=moment(told.at),
        what=what,
        reason=replay.reason,
        outcome=told.problem or outcome % {"number": told.runs},
    )


def _others(delivery: Delivery) -> list[Delivery]:
    """Newest first, one more than are told."""
    if not delivery.resource_id:
        return []
    same = Delivery.objects.filter(resource_id__in=spellings(delivery.resource_id))
    same = same.exclude(pk=delivery.pk).defer("body", "user_metadata", "headers")
    return list(same.order_by("-pk")[: MOST_OTHERS + 1])


def _jobs(delivery: Delivery, link: Link) -> list[Related]:
    """Of the resource, and those whose end it told."""
    found = {job.pk: job for job in delivery.jobs.defer("user_metadata")}
    if delivery.resource_id:
        named = Job.objects.filter(resource_id__in=spellings(delivery.resource_id))
        found |= {job.pk: job for job in named.defer("user_metadata")}
    return [_related(job, job.resource_id, job.submitted_at, link) for job in found.values()]


def _related(row: Any, label: str, at: Any, link: Link) -> Related:
    return Related(
        label=label or "-",
        url=link(row),
        state=badge(row.state, row.get_state_display()),
        at=moment(at),
    )
