"""How long to wait before the next attempt."""

from __future__ import annotations

import random

from gemini_webhooks.conf import settings


def retry_delay(attempts: int) -> float:
    """Seconds until the next attempt: exponential with full jitter.

    Args:
        attempts: how many there were, at least one.
    """
    doublings = min(attempts - 1, 64)
    ceiling = min(settings.RETRY_MAX_SECONDS, settings.RETRY_BASE_SECONDS * 2.0**doublings)
    return random.uniform(0, ceiling)  # noqa: S311  # spreads load, keeps no secret
