"""Which batches that failed are tried again, and when."""

from __future__ import annotations

from django.conf import settings

from gemini_webhooks.events import Event

MOST_TRIES = 3
TRIED_AGAIN = {"batch.failed", "batch.expired"}
#: Codes of ``google.rpc.Code``, as numbers and as names, for what would fail again in the same
#: way: the request is wrong, or not allowed.
HOPELESS = {
    *("3", "5", "7", "9", "12", "16"),
    *("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION"),
    *("UNIMPLEMENTED", "UNAUTHENTICATED"),
}


def try_of(event: Event) -> int:
    """Which try of its commission the job was."""
    return int(event.user_metadata.get("try", 1))


def pause_before_next(event: Event) -> float | None:
    """Seconds to wait before another try, twice as long each time; ``None``: it is given up."""
    number = try_of(event)
    is_hopeless = event.type not in TRIED_AGAIN or event.error_code in HOPELESS
    if is_hopeless or number >= MOST_TRIES:
        return None
    return float(settings.STUDIO_RETRY_SECONDS * 2 ** (number - 1))
