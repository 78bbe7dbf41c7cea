"""The registry of receivers: which ones an event is for, their names, queues and limits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from inspect import isawaitable
from typing import Any, TypeVar

from asgiref.sync import async_to_sync

from gemini_webhooks import signals
from gemini_webhooks.events import ALIASES, CATALOGUE, Event
from gemini_webhooks.signals import EventSignal, event_received, result_ready
from gemini_webhooks.storable import storable_text

ReceiverFunction = TypeVar("ReceiverFunction", bound=Callable[..., Any])

MAX_NAME_LENGTH = 255
#: What the names of receivers of ``result_ready`` begin with.
RESULT_PREFIX = "result_ready:"
#: The largest that every database takes.
MAX_LIMIT = 2**31 - 1


EVENT_SIGNALS = [signal for signal in vars(signals).values() if isinstance(signal, EventSignal)]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Runs that share a limit.

    Attributes:
        name: runs of the same name share it, whatever their receivers.
        limit: how many of them are executed at once, at least one.
    """

    name: str
    limit: int

    def __post_init__(self) -> None:
        name: object = self.name
        if not isinstance(name, str) or not name:
            raise ValueError(f"the name of a lane is a text, not {type(name).__name__}")
        _check_limit(self.limit)

    @property
    def key(self) -> str:
        """The name, as every database takes it; what is lost of it is told by a digest."""
        plain = storable_text(self.name, MAX_NAME_LENGTH)
        if plain == self.name:
            return plain
        digest = sha256(self.name.encode(errors="surrogatepass")).hexdigest()[:32]
        return f"{plain[: MAX_NAME_LENGTH - len(digest) - 1]}…{digest}"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """How many runs of a receiver are executed at once; see :func:`limited`."""

    runs: int
    per: str | None = None

    def lane(self, receiver: str, event: Event) -> Lane:
        """The lane of a receiver's run for ``event``."""
        if self.per is None:
            return Lane(name=receiver, limit=self.runs)
        value = json.dumps(event.user_metadata.get(self.per), sort_keys=True)
        return Lane(name=f"{receiver} {self.per}={value}", limit=self.runs)


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """One connected receiver of one event.

    Attributes:
        name: stable across processes: the ``dispatch_uid``, or module and qualified name.
        function: what was connected.
        signal: what it was connected to.
        queue: the Celery queue that it asks for itself.
    """

    name: str
    function: Callable[..., Any]
    signal: EventSignal
    queue: str | None = None

    @property
    def atomic(self) -> bool:
        """Whether it runs in one transaction with its mark; see :func:`non_atomic`."""
        return not getattr(_innermost(self.function), "gemini_webhooks_non_atomic", False)

    @property
    def latest_only(self) -> bool:
        """Whether it is skipped for an event that is not the newest; see :func:`latest_only`."""
        subscription = self.function if isinstance(self.function, Subscription) else None
        return bool(subscription and subscription.latest_only) or getattr(
            _innermost(self.function), "gemini_webhooks_latest_only", False
        )

    def lane(self, event: Event) -> Lane | None:
        """The lane that it asks for itself; ``None`` if it has no limit; see :func:`limited`."""
        subscription = self.function if isinstance(self.function, Subscription) else None
        limit: Limit | None = (subscription.limit if subscription else None) or getattr(
            _innermost(self.function), "gemini_webhooks_limit", None
        )
        return limit.lane(self.name, event) if limit else None

    def __call__(self, **arguments: Any) -> None:
        """Run it, sync or async."""
        outcome = _target(self.function)(signal=self.signal, **arguments)
        if isawaitable(outcome):  # told by what it returns: decorators hide an async function
            async_to_sync(_finish)(outcome)


@dataclass(frozen=True, kw_only=True, eq=False)
class Subscription:
    """What :func:`on` connects: a function with a condition and a queue."""

    function: Callable[..., Any]
    type: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None
    latest_only: bool = False
    limit: Limit | None = None

    def __call__(self, **arguments: Any) -> Any:
        """Call the function; what ``Signal.send()`` would do."""
        return self.function(**arguments)

    def wants(self, event: Event) -> bool:
        """Whether type and metadata of ``event`` match."""
        return event.type == self.type and all(
            key in event.user_metadata and event.user_metadata[key] == value
            for key, value in self.metadata.items()
        )


def on(
    event_type: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    queue: str | None = None,
    name: str | None = None,
    latest_only: bool = False,
    limit: int | None = None,
    per: str | None = None,
) -> Callable[[ReceiverFunction], ReceiverFunction]:
    """Connect the decorated function to one type of event.

    Args:
        event_type: for example ``"batch.succeeded"``; types that this version does not know
            work too.
        metadata: run only for events whose ``user_metadata`` has all these values.
        queue: Celery queue for its runs; ``QUEUE_ROUTER`` goes before it.
        name: the receiver's stable name; by default its module and qualified name.
        latest_only: as the decorator :func:`latest_only`.
        limit: as for the decorator :func:`limited`.
        per: likewise.

    Raises:
        ValueError: the limit is no whole number of at least one, ``per`` comes without it, or
            the function is connected with another limit under the same name.
    """
    proper = ALIASES.get(event_type, event_type)
    known = CATALOGUE.get(proper)
    bound = _limit(limit, per)

    def connect(function: ReceiverFunction) -> ReceiverFunction:
        _refuse_second_limit(function, name, bound)
        subscription = Subscription(
            function=function,
            type=proper,
            metadata=dict(metadata or {}),
            queue=queue,
            latest_only=latest_only,
            limit=bound,
        )
        signal = known.signal if known else event_received
        signal.connect(subscription, weak=False, dispatch_uid=name)
        return function

    return connect


def non_atomic(function: ReceiverFunction) -> ReceiverFunction:
    """Run the decorated receiver outside a transaction.

    For a receiver that must not hold a transaction open, such as one that calls other
    services for minutes. It may then run again although its work was done: make it idempotent.
    """
    function.gemini_webhooks_non_atomic = True  # type: ignore[attr-defined]  # a mark, read above
    return function


def latest_only(function: ReceiverFunction) -> ReceiverFunction:
    """Skip the decorated receiver for an event of a resource of which a newer one is stored.

    Events come in any order. Runs of such receivers for one resource wait for each other, so that
    what an older event makes is never written after what a newer one made. A ``non_atomic``
    receiver is skipped too, but once it has begun nothing stops a newer event from overtaking it.
    """
    function.gemini_webhooks_latest_only = True  # type: ignore[attr-defined]  # a mark, read above
    return function


def limited(
    limit: int, *, per: str | None = None
) -> Callable[[ReceiverFunction], ReceiverFunction]:
    """Execute no more than ``limit`` runs of the decorated receiver at once, in all workers.

    The others wait for their turn without occupying a worker.

    Args:
        limit: at least one.
        per: a key of ``user_metadata``: each of its values has the limit for itself, so that a
            burst of one tenant does not keep the others waiting.

    Raises:
        ValueError: the limit is no whole number of at least one.
    """
    bound = _limit(limit, per)

    def mark(function: ReceiverFunction) -> ReceiverFunction:
        function.gemini_webhooks_limit = bound  # type: ignore[attr-defined]  # a mark, read above
        return function

    return mark


def matching(event: Event, sender: type) -> list[Receiver]:
    """The receivers of ``event``, in the order of their connection."""
    known = event.known
    signals = [known.signal, event_received] if known else [event_received]
    return _connected(signals, event, sender)


def awaiting_result(event: Event, sender: type) -> list[Receiver]:
    """The receivers of ``result_ready``; their names say so, as one function may be both."""
    return _connected([result_ready], event, sender, prefix=RESULT_PREFIX)


def names(sender: type) -> list[str]:
    """The names of all receivers of events and results that are connected in this process."""
    found = _connected([result_ready], None, sender, prefix=RESULT_PREFIX)
    for signal in EVENT_SIGNALS:
        if signal is not result_ready:
            found += _connected(dict.fromkeys([signal, event_received]), None, sender)
    return sorted({receiver.name for receiver in found})


def _connected(
    event_signals: Iterable[EventSignal], event: Event | None, sender: type, prefix: str = ""
) -> list[Receiver]:
    """The receivers of ``event``, or of any."""
    found: list[Receiver] = []
    seen: Counter[str] = Counter()
    for signal in event_signals:
        for uid, function in signal.connections(sender):
            subscription = function if isinstance(function, Subscription) else None
            if event and subscription and not subscription.wants(event):
                continue
            name = (prefix + (uid or _name(function)))[:MAX_NAME_LENGTH]
            seen[name] += 1
            # Closures and instances can share a name; each must still have its own run.
            suffix = f"#{seen[name]}" if seen[name] > 1 else ""
            found.append(
                Receiver(
                    name=name[: MAX_NAME_LENGTH - len(suffix)] + suffix,
                    function=function,
                    signal=signal,
                    queue=subscription.queue if subscription else None,
                )
            )
    return found


def _limit(runs: int | None, per: str | None) -> Limit | None:
    if runs is None:
        if per is not None:
            raise ValueError("per says for what each limit is: give a limit, too")
        return None
    _check_limit(runs)
    return Limit(runs=runs, per=per)


def _check_limit(limit: object) -> None:
    whole = isinstance(limit, int) and not isinstance(limit, bool)
    if not whole or not 1 <= limit <= MAX_LIMIT:  # type: ignore[operator]  # it is one then
        raise ValueError(f"a limit is a whole number from 1 to {MAX_LIMIT}, not {limit!r}")


def _refuse_second_limit(function: object, name: str | None, limit: Limit | None) -> None:
    """Runs of one receiver share a lane by its name, which has one limit."""
    for signal in EVENT_SIGNALS if limit else ():
        for uid, other in signal.connections(type(None)):
            if not isinstance(other, Subscription) or (other.function, uid) != (function, name):
                continue
            if other.limit not in (None, limit):
                raise ValueError(
                    f"{other.function!r} is connected with another limit already: "
                    "give the second one a name of its own"
                )


async def _finish(outcome: Awaitable[Any]) -> None:
    await outcome


def _target(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.function if isinstance(function, Subscription) else function


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    function = _target(function)
    while isinstance(function, partial):
        function = function.func
    return function


def _name(function: Callable[..., Any]) -> str:
    innermost = _innermost(function)
    named = innermost if hasattr(innermost, "__qualname__") else type(innermost)
    return f"{named.__module__}.{named.__qualname__}"
