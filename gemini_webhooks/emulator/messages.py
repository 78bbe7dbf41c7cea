"""What is delivered, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gemini_webhooks.emulator.registered import Webhook
from gemini_webhooks.emulator.resources import now

State = Literal["waiting", "delivered", "given up", "lost", "dropped"]
KEPT_TRIES = 100


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event for one recipient.

    Attributes:
        webhook_id: the same on every try.
        recipient: a registered webhook, whose address, secrets and state are those of the moment
            at each try; or the URI of a dynamic one.
        body: the envelope as it is sent.
        resource_id: of the job; empty if it is about none.
        is_poison: whether the body is no event, but made to be hard to digest.
    """

    webhook_id: str
    recipient: Webhook | str
    event_type: str
    body: bytes = field(repr=False)
    resource_id: str = ""
    is_poison: bool = False
    created: datetime = field(default_factory=now)

    @property
    def webhook(self) -> Webhook | None:
        """The registered webhook; ``None`` for a dynamic one."""
        return self.recipient if isinstance(self.recipient, Webhook) else None

    @property
    def target(self) -> str:
        """The URI to call."""
        return self.recipient.uri if isinstance(self.recipient, Webhook) else self.recipient

    @property
    def address(self) -> str:
        """Whom it is for, whatever the URI is now."""
        return self.recipient.id if isinstance(self.recipient, Webhook) else self.recipient

    @property
    def signing(self) -> str:
        """``hmac`` or ``jwt``."""
        return "jwt" if self.webhook is None else "hmac"

    @property
    def name(self) -> str:
        """For the report."""
        return f"{self.event_type} {self.webhook_id}"


@dataclass(frozen=True, kw_only=True)
class Try:
    """One POST.

    Attributes:
        number: counted from 1 for each message.
        status: HTTP status of the answer; ``None`` if there was none, then ``error`` says why.
        at: aware time of the try.
        seconds: how long it took.
        duplicate: whether the message had been delivered before.
        fault: the switch that spoiled it on purpose; empty if none did.
        request_headers: as they were sent.
        answer_headers: as they came.
        answer_body: its first 4 KiB.
    """

    webhook_id: str
    event_type: str
    target: str
    signing: str
    number: int
    status: int | None
    error: str
    at: datetime
    seconds: float
    duplicate: bool
    fault: str = ""
    request_headers: dict[str, str] = field(default_factory=dict, repr=False)
    answer_headers: dict[str, str] = field(default_factory=dict, repr=False)
    answer_body: bytes = field(default=b"", repr=False)

    @property
    def delivered(self) -> bool:
        """Whether the receiver answered 2xx."""
        return self.status is not None and 200 <= self.status < 300

    def as_json(self) -> dict[str, Any]:
        """All but headers and bodies, fit for JSON."""
        return {
            "webhook_id": self.webhook_id,
            "event_type": self.event_type,
            "target": self.target,
            "signing": self.signing,
            "number": self.number,
            "status": self.status,
            "error": self.error,
            "at": self.at.isoformat(),
            "seconds": self.seconds,
            "duplicate": self.duplicate,
            "fault": self.fault,
        }

    def line(self) -> str:
        """For the report; without the query of the address, which may hold a secret."""
        outcome = self.error if self.status is None else f"HTTP {self.status}"
        note = " (duplicate)" if self.duplicate else ""
        if self.fault:
            note += f" ({self.fault.replace('_', ' ')} on purpose)"
        way = f"{self.webhook_id} -> {self.target.partition('?')[0]}"
        return f"{self.event_type} {way} try {self.number}{note}: {outcome}"


@dataclass(kw_only=True)
class Posted:
    """A message in the outbox; the outbox's lock is held around each change.

    Attributes:
        state: ``waiting`` for its next try, or how it ended: ``delivered``, ``given up``,
            ``lost`` on purpose, or ``dropped`` as its webhook is disabled or deleted.
        next_try_at: aware time, while it waits.
        give_up_at: aware time after which it is not tried again; ``None`` before its first try
            is due.
        twice: whether it is sent again once it is delivered.
        count: how often it was tried.
        tries: the newest of them, oldest first.
        task: number of the next try at the scheduler.
    """

    message: Message
    state: State = "waiting"
    next_try_at: datetime | None = None
    give_up_at: datetime | None = None
    twice: bool = False
    count: int = 0
    tries: list[Try] = field(default_factory=list, repr=False)
    task: int | None = None

    @property
    def webhook_id(self) -> str:
        """The same on every try."""
        return self.message.webhook_id

    @property
    def event_type(self) -> str:
        """For example ``batch.succeeded``."""
        return self.message.event_type

    @property
    def resource_id(self) -> str:
        """The job's; empty if it is about none."""
        return self.message.resource_id

    @property
    def target(self) -> str:
        """The URI that the next try calls."""
        return self.message.target

    @property
    def signing(self) -> str:
        """``hmac`` or ``jwt``."""
        return self.message.signing

    @property
    def body(self) -> bytes:
        """As it is sent."""
        return self.message.body

    @property
    def created(self) -> datetime:
        """Aware time of its making."""
        return self.message.created

    def add(self, made: Try) -> None:
        """Keep a try, and forget the oldest if there are too many."""
        self.tries = [*self.tries, made][-KEPT_TRIES:]
