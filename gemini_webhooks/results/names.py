"""What a result file is called in the storage."""

from __future__ import annotations

import re
from datetime import datetime

from gemini_webhooks import clock

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def storage_name(*, created_at: datetime, delivery_id: int, token: str, uri: str) -> str:
    """A name that nobody can guess where the storage is public.

    Args:
        created_at: as a model field holds it.
        delivery_id: primary key.
        token: random, and of this file alone.
        uri: where it comes from; how it ends is kept.
    """
    month = clock.aware(created_at).strftime("%Y/%m")
    return f"gemini-results/{month}/{delivery_id}-{token}-{base_name(uri)}"


def base_name(uri: str) -> str:
    """The last part of ``uri``, fit for every storage."""
    safe = UNSAFE.sub("_", uri.rpartition("/")[2]).lstrip(".")[-100:]
    return safe or "result"
