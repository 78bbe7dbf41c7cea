"""Which batches that failed are tried again, and when."""

from __future__ import annotations

from django.conf import settings

from gemini_webhooks.events import Event

MOST_TRIES = 3
TRIED_AGAIN = {"batch.failed", "batch.expired"}
#: ``google.rpc.Code``, by number.
CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
#: What would fail again in the same way: the request is wrong, or not allowed.
HOPELESS = {
    *("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION"),
    *("UNIMPLEMENTED", "UNAUTHENTICATED"),
}


def try_of(event: Event) -> int:
    """Which try of its commission the job was."""
    return int(event.user_metadata.get("try", 1))


def named_try(event: Event) -> str:
    """The same in words; beyond the last, a person had it submitted again."""
    number = try_of(event)
    return f"try {number} of {MOST_TRIES}" if number <= MOST_TRIES else f"try {number}, by hand"


def code_of(event: Event) -> str:
    """The error's code by its name, whether it came so or as a number; empty without one."""
    code = event.error_code or ""
    is_known = code.isdecimal() and int(code) < len(CODES)
    return CODES[int(code)] if is_known else code


def pause_before_next(event: Event) -> float | None:
    """Seconds to wait before another try, twice as long each time; ``None``: it is given up."""
    number = try_of(event)
    is_hopeless = event.type not in TRIED_AGAIN or code_of(event) in HOPELESS
    if is_hopeless or number >= MOST_TRIES:
        return None
    return float(settings.STUDIO_RETRY_SECONDS * 2 ** (number - 1))
