"""Reads values that people wrote; each mistake is told with its place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gemini_webhooks.exceptions import ConfigurationError


def wrong(place: str, message: str) -> ConfigurationError:
    """The error for what stands at ``place``, for example ``jobs[2].outcome``."""
    return ConfigurationError(f"{place}: {message}" if place else message)


def mapping(value: Any, place: str, allowed: Collection[str] | None = None) -> dict[str, Any]:
    """A mapping with names of ``allowed`` only; nothing at all is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(place, f"must be a mapping, not {named(value)}")
    for name in value:
        if not isinstance(name, str):
            raise wrong(place, f"has the name {name!r}, which is no text")
        if allowed is not None and name not in allowed:
            raise wrong(within(place, name), f"is not known; allowed are {listed(allowed)}")
    return value


def items(value: Any, place: str) -> list[Any]:
    """A list; nothing at all is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(place, f"must be a list, not {named(value)}")
    return value


def text(value: Any, place: str) -> str:
    """Text."""
    if not isinstance(value, str):
        raise wrong(place, f"must be text, not {named(value)}; put quotes around it")
    return value


def whole(value: Any, place: str, *, least: int | None = None) -> int:
    """A whole number, ``least`` or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(place, f"must be a whole number, not {named(value)}")
    if least is not None and value < least:
        raise wrong(place, f"must be {least} or more, not {value}")
    return value


def number(value: Any, place: str, *, most: float) -> float:
    """A number from 0 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(place, f"must be a number, not {named(value)}")
    if not 0 <= value <= most:
        raise wrong(place, f"must be from 0 to {most:g}, not {value:g}")
    return float(value)


def one_of(value: Any, place: str, allowed: Collection[str]) -> str:
    """One of these words."""
    if not isinstance(value, str) or value not in allowed:
        raise wrong(place, f"{value!r} is not known; allowed are {listed(allowed)}")
    return value


def within(place: str, name: str | int) -> str:
    """The place of an entry."""
    if isinstance(name, int):
        return f"{place}[{name}]"
    return f"{place}.{name}" if place else name


def listed(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(names)


def named(value: Any) -> str:
    """What a value is, in the words of YAML and JSON."""
    return NAMES.get(type(value), type(value).__name__)


NAMES: Mapping[type, str] = {
    type(None): "nothing",
    bool: "true or false",
    str: "text",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}
