"""The registry of receivers: which ones an event is for, their names and their queues."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from django.utils.module_loading import import_string

from gemini_webhooks.conf import settings
from gemini_webhooks.events import ALIASES, CATALOGUE, Event
from gemini_webhooks.signals import EventSignal, event_received, result_ready

logger = logging.getLogger(__name__)

ReceiverFunction = TypeVar("ReceiverFunction", bound=Callable[..., Any])

MAX_NAME_LENGTH = 255


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
) -> Callable[[ReceiverFunction], ReceiverFunction]:
    """Connect the decorated function to one type of event.

    Args:
        event_type: for example ``"batch.succeeded"``; types that this version does not know
            work too.
        metadata: run only for events whose ``user_metadata`` has all these values.
        queue: Celery queue for its runs; ``QUEUE_ROUTER`` goes before it.
        name: the receiver's stable name; by default its module and qualified name.
        latest_only: as the decorator :func:`latest_only`.
    """
    proper = ALIASES.get(event_type, event_type)
    known = CATALOGUE.get(proper)

    def connect(function: ReceiverFunction) -> ReceiverFunction:
        subscription = Subscription(
            function=function,
            type=proper,
            metadata=dict(metadata or {}),
            queue=queue,
            latest_only=latest_only,
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


def matching(event: Event, sender: type) -> list[Receiver]:
    """The receivers of ``event``, in the order of their connection."""
    known = event.known
    signals = [known.signal, event_received] if known else [event_received]
    return _connected(signals, event, sender)


def awaiting_result(event: Event, sender: type) -> list[Receiver]:
    """The receivers of ``result_ready``; their names say so, as one function may be both."""
    return _connected([result_ready], event, sender, prefix="result_ready:")


def queue_for(event: Event, receiver: Receiver) -> str | None:
    """The Celery queue for a run: what ``QUEUE_ROUTER`` says, else what the receiver asks for.

    A router that fails is logged and passed over: a wrong queue name must not stop a delivery.
    """
    if settings.QUEUE_ROUTER:
        try:
            routed = import_string(settings.QUEUE_ROUTER)(event, receiver.name)
        except Exception as error:  # noqa: BLE001  # a site's own code may raise anything
            logger.error(  # noqa: TRY400  # its text and frames may hold the payload
                "QUEUE_ROUTER failed for %s of %s: %s",
                receiver.name,
                event.id,
                type(error).__name__,
            )
        else:
            if routed:
                return str(routed)
    return receiver.queue


def _connected(
    event_signals: Iterable[EventSignal], event: Event, sender: type, prefix: str = ""
) -> list[Receiver]:
    found: list[Receiver] = []
    seen: Counter[str] = Counter()
    for signal in event_signals:
        for uid, function in signal.connections(sender):
            subscription = function if isinstance(function, Subscription) else None
            if subscription and not subscription.wants(event):
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
