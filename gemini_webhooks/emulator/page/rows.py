"""What the page lists: the newest of everything, in words."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from gemini_webhooks.emulator.answers import text_of
from gemini_webhooks.emulator.messages import Posted
from gemini_webhooks.emulator.outbox import KEPT_MESSAGES
from gemini_webhooks.emulator.page.prospects import audience, course
from gemini_webhooks.emulator.page.times import Moment, moment
from gemini_webhooks.emulator.registered import ENABLED, Webhook
from gemini_webhooks.emulator.resources import Batch, Interaction, Job, Video
from gemini_webhooks.emulator.state import Emulator

SHOWN = 200
PROMPT_CHARACTERS = 100
TONES = {
    "running": "active",
    "succeeded": "good",
    "requires_action": "waiting",
    "cancelled": "quiet",
    "failed": "bad",
    "expired": "bad",
    "waiting": "waiting",
    "delivered": "good",
    "given up": "bad",
    "lost": "bad",
    "dropped": "quiet",
    ENABLED: "good",
    "disabled": "quiet",
}


@dataclass(frozen=True, kw_only=True)
class Badge:
    """A state, and the tone of its colour."""

    text: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job."""

    id: str
    kind: str
    model: str
    display_name: str
    prompt: str
    state: Badge
    course: str
    audience: str
    started: Moment
    ends: Moment
    is_running: bool


@dataclass(frozen=True, kw_only=True)
class MessageRow:
    """One event for one recipient; ``key`` finds it again."""

    key: str
    event_type: str
    webhook_id: str
    resource_id: str
    target: str
    signing: str
    state: Badge
    tries: str
    answer: str
    created: Moment
    next_try: Moment | None


@dataclass(frozen=True, kw_only=True)
class WebhookRow:
    """One registered webhook."""

    id: str
    name: str
    uri: str
    events: str
    state: Badge
    is_enabled: bool


@dataclass(frozen=True, kw_only=True)
class Listed:
    """All that changes while one looks at the page, newest first.

    Attributes:
        older_jobs: how many jobs are not shown.
        older_messages: how many messages are not shown.
        lost: how many messages were lost on purpose.
        summary: one sentence, for whoever cannot see the lists.
    """

    webhooks: list[WebhookRow]
    jobs: list[JobRow]
    messages: list[MessageRow]
    older_jobs: int
    older_messages: int
    lost: int
    summary: str


def listed(emulator: Emulator) -> Listed:
    """Look at everything; hold the emulator's lock meanwhile."""
    every_job = list(jobs(emulator))
    posted = emulator.outbox.messages
    newest = heapq.nlargest(SHOWN, every_job, key=lambda job: job.created)
    running = sum(not job.outcome for job in every_job)
    waiting = sum(message.state == "waiting" for message in posted)
    told_of = {message.resource_id for message in posted}
    if len(posted) >= KEPT_MESSAGES:
        # Some are forgotten, perhaps, so say of no job that nobody was told.
        told_of |= {job.id for job in newest}
    return Listed(
        webhooks=[_webhook(webhook) for webhook in emulator.webhooks],
        jobs=[_job(emulator, job, told_of) for job in newest],
        messages=[_message(message) for message in reversed(posted[-SHOWN:])],
        older_jobs=len(every_job) - len(newest),
        older_messages=max(0, len(posted) - SHOWN),
        lost=sum(message.state == "lost" for message in posted),
        summary=(
            f"{len(every_job)} jobs, {running} running; {len(posted)} events, {waiting} waiting"
        ),
    )


def jobs(emulator: Emulator) -> Iterator[Job]:
    """All jobs of all kinds."""
    kinds: tuple[Iterable[Job], ...] = (emulator.batches, emulator.interactions, emulator.videos)
    return chain(*kinds)


def key_of(message: Posted) -> str:
    """What finds a message again: an event may go to several recipients under one id."""
    name = f"{message.webhook_id} {message.message.address}"
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def badge(state: str) -> Badge:
    """A state with its tone."""
    return Badge(text=state.replace("_", " "), tone=TONES.get(state, "bad"))


def _job(emulator: Emulator, job: Job, told_of: Container[str]) -> JobRow:
    return JobRow(
        id=job.id,
        kind=job.kind,
        model=job.model.removeprefix("models/"),
        display_name=job.display_name if isinstance(job, Batch) else "",
        prompt=_prompt(job),
        state=badge(job.outcome or "running"),
        course=course(job),
        audience=audience(emulator, job, told_of),
        started=moment(job.created),
        ends=moment(job.updated if job.outcome else job.ends_at),
        is_running=not job.outcome,
    )


def _prompt(job: Job) -> str:
    """The first words; of a batch those of its first request, and how many there are."""
    if isinstance(job, Interaction | Video):
        return _first_words(job.text)
    if isinstance(job, Batch) and job.requests:
        text = _first_words(text_of(job.requests[0]["request"]))
        count = len(job.requests)
        return text if count == 1 else f"{text} ({count} requests)"
    return ""


def _first_words(text: str) -> str:
    line = " ".join(text[: PROMPT_CHARACTERS * 2].split())
    return line if len(line) <= PROMPT_CHARACTERS else f"{line[:PROMPT_CHARACTERS]}…"


def _message(message: Posted) -> MessageRow:
    last = message.tries[-1] if message.tries else None
    waits = message.state == "waiting" and message.next_try_at is not None
    return MessageRow(
        key=key_of(message),
        event_type=message.event_type,
        webhook_id=message.webhook_id,
        resource_id=message.resource_id,
        target=message.target,
        signing=message.signing,
        state=badge(message.state),
        tries="1 try" if message.count == 1 else f"{message.count} tries",
        answer="" if last is None else last.error or f"HTTP {last.status}",
        created=moment(message.created),
        next_try=moment(message.next_try_at) if waits and message.next_try_at else None,
    )


def _webhook(webhook: Webhook) -> WebhookRow:
    return WebhookRow(
        id=webhook.id,
        name=webhook.name,
        uri=webhook.uri,
        events=", ".join(webhook.subscribed_events),
        state=badge(webhook.state),
        is_enabled=webhook.state == ENABLED,
    )
