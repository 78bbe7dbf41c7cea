"""Small values that the processes of a site share through Django's default cache.

Where that cache is down or keeps nothing (``DummyCache``), each process keeps its own instead.
The shared cache alone is believed as soon as it works.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache

_own = LocMemCache("gemini_webhooks", {})


def read(key: str) -> Any:
    """The value, or ``None``."""
    try:
        value = caches["default"].get(key)
        # A cache that keeps nothing has no error, and one that works may die at any moment.
        return _working().get(key) if value is None else value
    except Exception:  # noqa: BLE001  # every cache backend has errors of its own
        return _own.get(key)


def write(key: str, value: Any, *, seconds: float) -> None:
    """Keep a value other than ``None`` for so many seconds."""
    try:
        _working().set(key, value, seconds)
    except Exception:  # noqa: BLE001  # every cache backend has errors of its own
        _own.set(key, value, seconds)


def claim(key: str, value: Any, *, seconds: float) -> bool:
    """Keep the value if there is none; whether it was kept. One caller wins."""
    try:
        return bool(_working().add(key, value, seconds))
    except Exception:  # noqa: BLE001  # every cache backend has errors of its own
        return _own.add(key, value, seconds)


def _working() -> BaseCache:
    """The shared cache if it keeps what it is given, else the one of this process."""
    probe = f"gemini_webhooks:probe:{secrets.token_hex(8)}"
    try:
        shared = caches["default"]
        shared.set(probe, 1, 10)
        if shared.get(probe) == 1:
            shared.delete(probe)
            _own.clear()
            return shared
    except Exception:  # noqa: BLE001, S110  # down: the same as one that keeps nothing
        pass
    return _own
