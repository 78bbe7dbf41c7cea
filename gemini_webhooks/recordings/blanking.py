"""Blanks values on request, so that a recording may leave the site: keys and shapes stay."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from gemini_webhooks import redaction
from gemini_webhooks.events import Event
from gemini_webhooks.recordings.files import InvalidRecording, RecordedResult, time
from gemini_webhooks.redaction import MARK


def body(content: bytes, keep: Collection[str]) -> bytes:
    """A body as ``REDACT`` lets it be seen, and with blank metadata.

    Args:
        content: JSON.
        keep: keys of the metadata whose values stay.

    Raises:
        CannotRedact: ``REDACT`` could not be applied.
        InvalidRecording: it is no JSON, so nothing can be blanked.
    """
    try:
        envelope = json.loads(redaction.shown_body(content))
    except (ValueError, RecursionError):
        raise InvalidRecording(
            "the body is not JSON, so nothing can be taken out: leave out --redact"
        ) from None
    for path in redaction.METADATA:
        holder = envelope
        for step in path[:-1]:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and path[-1] in holder:
            holder[path[-1]] = metadata(holder[path[-1]], keep)
    return json.dumps(envelope).encode()


def metadata(found: Any, keep: Collection[str]) -> Any:
    """Metadata with blank values.

    Raises:
        CannotRedact: ``REDACT`` could not be applied.
    """
    if not isinstance(found, Mapping):
        return blank(found)
    return {key: value if key in keep else blank(value) for key, value in found.items()}


def about(found: Mapping[str, Any], shown: Event) -> dict[str, Any]:
    """What is said about the delivery, as far as the redacted body says so itself.

    The columns were filled before ``REDACT`` was applied.

    Args:
        found: all of it.
        shown: what the redacted body says.
    """
    return {
        **found,
        "event_type": shown.type,
        "resource_id": shown.resource_id,
        "occurred_at": time(shown.occurred_at),
        "runs": [{**run, "last_error": ""} for run in found["runs"]],
    }


def result(found: RecordedResult, shown: Event) -> RecordedResult:
    """A result file with blank rows, and without its name if the redacted body has that no more.

    Raises:
        CannotRedact, InvalidRecording: as :func:`rows`.
    """
    source = found.source if found.source == shown.result_source else f"{MARK}.jsonl"
    return replace(found, source=source, content=rows(found.content))


def rows(content: bytes) -> bytes:
    """A result file with blank rows; the ``key`` of each is its number, so that all differ.

    Raises:
        CannotRedact: ``REDACT`` could not be applied.
        InvalidRecording: it has no rows of JSON, so nothing can be blanked.
    """
    blanked: list[str] = []
    for number, line in enumerate(filter(bytes.strip, content.splitlines()), start=1):
        try:
            row = blank(redaction.shown_row(json.loads(line)))
        except (ValueError, RecursionError):
            raise InvalidRecording(
                f"row {number} of a result file is not JSON, so nothing can be taken out: leave "
                "out --results"
            ) from None
        if isinstance(row, dict) and "key" in row:
            row["key"] = f"row-{number}"
        blanked.append(json.dumps(row))
    return "".join(f"{row}\n" for row in blanked).encode()


def blank(value: Any) -> Any:
    """``value`` with a mark for each text, 0 for each number, ``False`` for each truth value."""
    if isinstance(value, Mapping):
        return {key: blank(one) for key, one in value.items()}
    if isinstance(value, list):
        return [blank(one) for one in value]
    if isinstance(value, str):
        return MARK
    return None if value is None else type(value)()
