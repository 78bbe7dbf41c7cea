"""Delivers events: signs, posts, retries, repeats, and logs every try."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from gemini_webhooks.emulator.options import Options
from gemini_webhooks.emulator.registered import Webhook
from gemini_webhooks.emulator.scheduler import Scheduler
from gemini_webhooks.emulator.shutoff import ShutOff
from gemini_webhooks.emulator.signing import Signer, hmac_signature
from gemini_webhooks.emulator.transport import Transport, Unreachable

ISSUER = "https://generativelanguage.googleapis.com"
TOKEN_SECONDS = 3600
MAX_PAUSE_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event for one recipient.

    Attributes:
        webhook_id: the same on every try.
        recipient: a registered webhook, whose address, secrets and state are those of the moment
            at each try; or the URI of a dynamic one.
        event: the envelope.
        body: the envelope as it is sent.
    """

    webhook_id: str
    recipient: Webhook | str
    event: Mapping[str, Any] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def webhook(self) -> Webhook | None:
        """The registered webhook; ``None`` for a dynamic one."""
        return self.recipient if isinstance(self.recipient, Webhook) else None

    @property
    def target(self) -> str:
        """The URI to call."""
        return self.recipient.uri if isinstance(self.recipient, Webhook) else self.recipient


@dataclass(frozen=True, kw_only=True)
class Try:
    """One POST.

    Attributes:
        number: counted from 1 for each message.
        status: HTTP status of the answer; ``None`` if there was none, then ``error`` says why.
        at: aware time of the try.
        duplicate: whether the message had been delivered before.
    """

    webhook_id: str
    event_type: str
    target: str
    signing: str
    number: int
    status: int | None
    error: str
    at: datetime
    duplicate: bool

    @property
    def delivered(self) -> bool:
        """Whether the receiver answered 2xx."""
        return self.status is not None and 200 <= self.status < 300

    def as_json(self) -> dict[str, Any]:
        """All fields, fit for JSON."""
        return {**asdict(self), "at": self.at.isoformat()}


class Outbox:
    """Sends messages in the background.

    Args:
        options: retries, duplicates, token and timeout.
        scheduler: runs the tries.
        signer: signs the tokens.
        shutoff: is told how the events of registered webhooks end.
    """

    def __init__(
        self, options: Options, scheduler: Scheduler, signer: Signer, shutoff: ShutOff
    ) -> None:
        self._options = options
        self._scheduler = scheduler
        self._signer = signer
        self._shutoff = shutoff
        self._transport = Transport(options.delivery_timeout)
        self._lock = threading.Lock()
        self._tries: list[Try] = []
        self._lost: list[Message] = []
        self._numbers = itertools.count(1)

    @property
    def tries(self) -> list[Try]:
        """All tries so far, oldest first."""
        with self._lock:
            return list(self._tries)

    def post(self, message: Message) -> None:
        """Deliver ``message`` soon, or lose it if its turn has come."""
        number = next(self._numbers)
        if _is_in_share(number, self._options.lost):
            self._options.report(f"{message.event['type']} {message.webhook_id}: lost")
            with self._lock:
                self._lost.append(message)
            return
        self._send(message, twice=_is_in_share(number, self._options.duplicates))

    def send_lost(self) -> None:
        """Deliver what was lost after all."""
        with self._lock:
            late, self._lost = self._lost, []
        for message in late:
            self._send(message, twice=False)

    def _send(self, message: Message, *, twice: bool) -> None:
        self._scheduler.after(0, partial(self._try, message, number=1, twice=twice))

    def wait_idle(self, timeout: float = 10) -> bool:
        """Wait until all jobs have ended and all messages are delivered or given up.

        Returns:
            ``False`` if that takes longer than ``timeout`` seconds.
        """
        return self._scheduler.wait_idle(timeout)

    def close(self) -> None:
        """Break off the tries under way."""
        self._transport.close()

    def _try(self, message: Message, *, number: int, twice: bool, duplicate: bool = False) -> None:
        if message.webhook and not message.webhook.receives:
            self._options.report(_dropped(message, number))
            return
        made = self._post(message, number, duplicate=duplicate)
        with self._lock:
            self._tries.append(made)
        self._options.report(_line(made))
        if duplicate:
            return
        if made.delivered or number >= self._options.max_tries:
            self._settle(message, made)
            if made.delivered and twice:
                again = partial(self._try, message, number=number + 1, twice=False, duplicate=True)
                self._scheduler.after(0, again)
            return
        pause = min(self._options.retry_base * 2 ** (number - 1), MAX_PAUSE_SECONDS)
        self._scheduler.after(pause, partial(self._try, message, number=number + 1, twice=twice))

    def _settle(self, message: Message, last: Try) -> None:
        if message.webhook is None:
            return
        if last.delivered:
            self._shutoff.delivered(message.webhook)
        else:
            self._shutoff.given_up(message.webhook)

    def _post(self, message: Message, number: int, *, duplicate: bool) -> Try:
        at = datetime.now(UTC)
        target = message.target
        status, error = None, ""
        try:
            status = self._transport.post(target, self._headers(message), message.body)
        except Unreachable as reason:
            error = str(reason)
        return Try(
            webhook_id=message.webhook_id,
            event_type=message.event["type"],
            target=target,
            signing="jwt" if message.webhook is None else "hmac",
            number=number,
            status=status,
            error=error,
            at=at,
            duplicate=duplicate,
        )

    def _headers(self, message: Message) -> dict[str, str]:
        timestamp = int(time.time())
        return {
            "content-type": "application/json",
            "user-agent": "gemini-emulator",
            "connection": "close",
            "webhook-id": message.webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._signature(message, timestamp),
        }

    def _signature(self, message: Message, timestamp: int) -> str:
        if message.webhook is None:
            return self._signer.token(self._claims(message, timestamp))
        return " ".join(
            hmac_signature(secret.value, message.webhook_id, timestamp, message.body)
            for secret in message.webhook.valid_secrets
        )

    def _claims(self, message: Message, timestamp: int) -> dict[str, Any]:
        bound: dict[str, Mapping[str, Any]] = {
            "event": message.event,
            "body": {"body_sha256": hashlib.sha256(message.body).hexdigest()},
            "webhook_id": {"webhook_id": message.webhook_id},
            "unbound": {},
        }
        return {
            "iss": ISSUER,
            "aud": self._options.audience or message.target,
            "iat": timestamp,
            "exp": timestamp + TOKEN_SECONDS,
            **bound[self._options.token],
        }


def _is_in_share(number: int, share: float) -> bool:
    """Spread a share of the messages evenly, so that every run of a test has the same ones."""
    return int(number * share) > int((number - 1) * share)


def _dropped(message: Message, number: int) -> str:
    name = f"{message.event['type']} {message.webhook_id}"
    return f"{name} try {number}: dropped, its webhook is disabled or deleted"


def _line(made: Try) -> str:
    outcome = made.error if made.status is None else f"HTTP {made.status}"
    note = " (duplicate)" if made.duplicate else ""
    address = made.target.partition("?")[0]
    return f"{made.event_type} {made.webhook_id} -> {address} try {made.number}{note}: {outcome}"
