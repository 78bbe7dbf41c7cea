"""Which receivers are connected, and which modules with receivers nobody imported."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import apps

from gemini_webhooks import signals
from gemini_webhooks.doctor.findings import Finding, ok, warning
from gemini_webhooks.doctor.site import Site
from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.models import WebhookDelivery
from gemini_webhooks.receivers import Subscription
from gemini_webhooks.signals import EventSignal

#: Where receivers usually are.
MODULES = ("receivers", "signals", "handlers")


@dataclass(frozen=True, kw_only=True)
class Connected:
    """A receiver of this process.

    Attributes:
        event: event type; ``every event``, or ``result_ready``.
        name: its stable name, or where it is defined.
        queue: the Celery queue that it asks for, or empty.
    """

    event: str
    name: str
    queue: str


def connected() -> list[Connected]:
    """The receivers of all events and results."""
    types = {id(known.signal): name for name, known in CATALOGUE.items()}
    types[id(signals.event_received)] = "every event"
    types[id(signals.result_ready)] = "result_ready"
    return [
        Connected(
            event=function.type if isinstance(function, Subscription) else types[id(signal)],
            name=uid or _name(function),
            queue=(function.queue if isinstance(function, Subscription) else None) or "",
        )
        for signal in vars(signals).values()
        if isinstance(signal, EventSignal)
        for uid, function in signal.connections(WebhookDelivery)
    ]


def receivers(site: Site) -> Iterator[Finding]:
    """At least one receiver is connected, and no module with receivers was forgotten."""
    del site
    by_event: dict[str, list[str]] = defaultdict(list)
    for receiver in connected():
        by_event[receiver.event].append(receiver.name)
    if by_event:
        listed = "; ".join(f"{event}: {', '.join(names)}" for event, names in by_event.items())
        yield ok("receivers", f"{listed}.")
    else:
        yield warning(
            "receivers",
            "None is connected: events are stored, and nothing is done with them.",
            "Connect one to a signal of gemini_webhooks.signals, in a module that an app config "
            "imports in ready().",
        )
    for module in _forgotten():
        yield warning(
            "receivers",
            f"{module} mentions gemini_webhooks, but nobody imported it: its receivers are not "
            "connected.",
            f"Import it in the ready() of its app config: from {module.rpartition('.')[0]} import "
            f"{module.rpartition('.')[2]}.",
        )


def _forgotten() -> Iterator[str]:
    for config in apps.get_app_configs():
        for last in MODULES:
            name = f"{config.name}.{last}"
            if config.name != "gemini_webhooks" and name not in sys.modules and _is_for_us(name):
                yield name


def _is_for_us(module: str) -> bool:
    spec = find_spec(module)
    if spec is None or not spec.has_location or spec.origin is None:
        return False
    try:
        return b"gemini_webhooks" in Path(spec.origin).read_bytes()
    except OSError:
        return False


def _name(function: Callable[..., Any]) -> str:
    while isinstance(function, partial | Subscription):
        function = function.func if isinstance(function, partial) else function.function
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
