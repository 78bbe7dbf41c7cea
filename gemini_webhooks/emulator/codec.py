"""Values of dataclasses to JSON and back, told by their annotations alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class Undecodable(ValueError):
    """The JSON is not what a value of this kind becomes."""


def encode(value: Any) -> str:
    """JSON; what ``json.loads`` makes of it is for :func:`decode`."""
    return json.dumps(value, default=_encode)


def decode(kind: type[T], value: Any) -> T:
    """The value of this kind.

    Raises:
        Undecodable: it cannot be one.
    """
    result: T = _decode(kind, value)
    return result


def _encode(value: Any) -> Any:
    """One value that JSON does not have; ``json`` sees to what is in it."""
    if is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.isoformat()
        case Path():
            # Not text, as bytes are.
            return {"path": str(value)}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _decode(kind: Any, value: Any) -> Any:
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _instance(kind, _object(value))
    if get_origin(kind) is None:
        return _plain(kind, value)
    return _generic(get_origin(kind), get_args(kind), value)


def _generic(origin: Any, inner: tuple[Any, ...], value: Any) -> Any:
    if origin in (Union, UnionType):
        return _one_of(inner, value)
    if origin is Literal:
        return _checked(value in inner, value)
    if issubclass(origin, Mapping):
        return {inner[0](key): _decode(inner[1], one) for key, one in _object(value).items()}
    items = _items(inner[0], value)
    return tuple(items) if origin is tuple else items


def _one_of(kinds: tuple[Any, ...], value: Any) -> Any:
    for kind in kinds:
        try:
            return _decode(kind, value)
        except Undecodable:
            continue
    raise Undecodable


def _instance(kind: Any, value: Mapping[str, Any]) -> Any:
    hints = _hints(kind)
    return kind(**{name: _decode(hints[name], one) for name, one in value.items() if name in hints})


def _plain(kind: Any, value: Any) -> Any:
    try:
        if kind is bytes:
            return base64.b64decode(value, validate=True)
        if kind is datetime:
            return datetime.fromisoformat(value)
        if kind is Path:
            return Path(_object(value)["path"])
    except (ValueError, TypeError, KeyError):
        raise Undecodable from None
    if kind is float:
        return float(_checked(isinstance(value, int | float), value))
    return _checked(kind in (str, int, bool, NoneType) and type(value) is kind, value)


def _items(kind: Any, value: Any) -> list[Any]:
    return [_decode(kind, one) for one in _checked(isinstance(value, list), value)]


def _object(value: Any) -> dict[str, Any]:
    result: dict[str, Any] = _checked(isinstance(value, dict), value)
    return result


def _checked(fits: bool, value: Any) -> Any:
    if not fits:
        raise Undecodable
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
