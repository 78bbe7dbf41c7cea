"""Events that look like Google's, and changes to them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from gemini_webhooks import events
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries.metadata import read_path
from gemini_webhooks.exceptions import ConfigurationError

#: Types whose events name an output, and where it lies.
OUTPUTS: Mapping[str, str] = {
    "batch.succeeded": "gs://{bucket}/samples/{id}.jsonl",
    "batch.completed": "gs://{bucket}/samples/{id}.jsonl",
    "video.generated": "files/{id}",
}
ERROR = ("13", "It failed because somebody asked for that.")
BUCKET = "gemini-emulator"


def new_id() -> str:
    """A webhook id that was never used."""
    return f"msg_{secrets.token_hex(8)}"


def sample(event_type: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The envelope of an event that has just happened to a job that does not exist.

    Args:
        event_type: any; the documented ones get the fields that Google documents.
        metadata: the job's ``user_metadata``.
    """
    name = event_type.partition(".")[0] or "job"
    resource_id = f"{name}_{secrets.token_hex(8)}"
    is_failure = events.job_state(event_type) == "failed"
    bucket = next(iter(settings.ALLOWED_BUCKETS), BUCKET)
    written = events.write(
        event_type,
        resource_id=resource_id,
        occurred_at=datetime.now(UTC).replace(microsecond=0),
        user_metadata=metadata or {},
        output=OUTPUTS.get(event_type, "").format(bucket=bucket, id=resource_id),
        error=ERROR if is_failure else None,
    )
    envelope: dict[str, Any] = json.loads(written)
    return envelope


def body_of(envelope: Mapping[str, Any]) -> bytes:
    """The bytes to sign and send."""
    return json.dumps(envelope, separators=(",", ":")).encode()


def fields_of(event_type: str) -> list[str]:
    """What ``data`` of such an event carries."""
    return list(sample(event_type)["data"])


def likely_meant(event_type: str) -> str | None:
    """A documented type that is spelled nearly like ``event_type``; ``None`` if it is one."""
    known = [*events.CATALOGUE, *events.ALIASES, *events.UNDOCUMENTED_ENDS]
    if event_type in known:
        return None
    return next(iter(get_close_matches(event_type, events.CATALOGUE, n=1, cutoff=0.75)), None)


def assign(target: dict[str, Any], text: str, *, example: str = "data.id=batch_1") -> None:
    """Put a value into JSON; objects on the way are made.

    Args:
        target: is changed.
        text: ``PATH=VALUE``: a path such as ``data.id`` or ``data.items[0]``, and what is there
            then: JSON if it can be read as such, else the text as it is.
        example: of such a text, for the message about one that is none.

    Raises:
        ConfigurationError: it is no such text, or the path leads through something else.
    """
    path, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f"{text!r} has no value: write it as in {example}.")
    *way, last = read_path(path)
    place: Any = target
    for step in way:
        if isinstance(step, str) and isinstance(place, dict):
            place = place.setdefault(step, {})
        elif _is_item(place, step):
            place = place[step]
        else:
            raise _nowhere(path)
    if (isinstance(last, str) and isinstance(place, dict)) or _is_item(place, last):
        place[last] = _value(value)
    elif isinstance(place, list) and last == len(place):
        place.append(_value(value))
    else:
        raise _nowhere(path)


def _is_item(place: Any, step: str | int) -> bool:
    return isinstance(step, int) and isinstance(place, list) and step < len(place)


def _nowhere(path: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} leads nowhere: on the way there is something that is no object, or a list that "
        "is shorter."
    )


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value
