"""What clients may write into a webhook, and which fields an update means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gemini_webhooks.emulator.errors import invalid
from gemini_webhooks.emulator.registered import DISABLED, ENABLED
from gemini_webhooks.emulator.transport import is_target

#: Types are an open set, as in the SDK; only what cannot be one is refused.
EVENT_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def _name(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid("name must be text.")
    return value


def _uri(value: Any) -> str:
    if not is_target(value):
        raise invalid("uri must be an absolute http or https URI.")
    return str(value)


def _subscribed_events(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise invalid("subscribed_events must name at least one event.")
    for name in value:
        if not isinstance(name, str) or not EVENT_TYPE.fullmatch(name):
            raise invalid("subscribed_events has an entry that is no event type.")
    return value


def _state(value: Any) -> str:
    if not isinstance(value, str) or value.lower() not in (ENABLED, DISABLED):
        raise invalid(f"state can be set to {ENABLED} or {DISABLED} only.")
    return value.lower()


READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "uri": _uri,
    "subscribed_events": _subscribed_events,
    "state": _state,
}


def new(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a new webhook; 400 if one makes no sense."""
    _known(given)
    return {name: READERS[name](given.get(name)) for name in ("name", "uri", "subscribed_events")}


def changes(given: Mapping[str, Any], mask: str) -> dict[str, Any]:
    """The fields that an update sets; 400 if one makes no sense, and then none is set.

    Args:
        given: the body.
        mask: field names with commas between them, in either case style; ``*`` or an empty
            mask means the fields that the body has, and a masked field that the body does not
            have is emptied (AIP-134).
    """
    _known(given)
    names = [_snake(name.strip()) for name in mask.split(",")] if mask not in ("", "*") else given
    _known(names)
    return {name: READERS[name](given.get(name)) for name in names}


def _known(names: Iterable[str]) -> None:
    for name in names:
        if name not in READERS:
            raise invalid(f"{name!r} is no field that can be set.")


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)
