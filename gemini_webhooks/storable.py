"""Text and JSON as every database takes them, for the columns that are searched and shown.

The body of a delivery keeps the exact bytes; nothing is lost here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: How deeply metadata may be nested. MariaDB refuses JSON of more than 32 levels.
MAX_DEPTH = 20


def storable(value: Any, depth: int = MAX_DEPTH) -> Any:
    """JSON ``value`` without NUL, lone surrogate or infinity, and cut off below ``depth``."""
    if isinstance(value, str):
        return storable_text(value, len(value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, Mapping | list):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, list):
        return [storable(item, depth - 1) for item in value]
    return {storable(str(key)): storable(item, depth - 1) for key, item in value.items()}


def storable_text(text: str, limit: int) -> str:
    """``text`` without NUL or lone surrogate, at most ``limit`` characters."""
    cleaned = text[:limit].replace("\x00", "\ufffd")
    if cleaned.isascii():
        return cleaned
    return cleaned.encode("utf-8", "replace").decode("utf-8")


def is_storable(value: Any) -> bool:
    """Whether every database takes JSON ``value`` just as it is."""
    return bool(storable(value) == value)


def strings_in(stored: object) -> list[str]:
    """The strings of a list in a stored column, which may hold any JSON."""
    return [one for one in stored if isinstance(one, str)] if isinstance(stored, list) else []
