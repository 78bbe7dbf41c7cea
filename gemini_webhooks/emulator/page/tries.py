"""Every try of one message: what was sent, and what was answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gemini_webhooks.emulator.messages import Posted, Try
from gemini_webhooks.emulator.page.rows import Badge
from gemini_webhooks.emulator.page.times import Moment, duration, moment

BODY_CHARACTERS = 64 * 1024
HEADER_CHARACTERS = 120


@dataclass(frozen=True, kw_only=True)
class TryRow:
    """One POST and its answer."""

    number: int
    at: Moment
    took: str
    outcome: Badge
    notes: str
    target: str
    request_headers: list[tuple[str, str]]
    answer_headers: list[tuple[str, str]]
    answer_body: str


def tries_of(message: Posted) -> list[TryRow]:
    """Those that are kept, newest first."""
    return [_row(made) for made in reversed(message.tries)]


def pretty(body: bytes) -> str:
    """A body for people: JSON indented, whatever else as it is; too long ones are cut."""
    text = body.decode(errors="replace")
    try:
        # Duplicate names or NaN would be lost or made up here, but the bytes are ours.
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        """Poison, or no JSON at all."""
    text = text.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    if len(text) <= BODY_CHARACTERS:
        return text
    return f"{text[:BODY_CHARACTERS]}\n… ({len(text):,} characters)"


def _row(made: Try) -> TryRow:
    notes = ["sent again although delivered"] if made.duplicate else []
    if made.fault:
        notes.append(f"{made.fault.replace('_', ' ')} on purpose")
    return TryRow(
        number=made.number,
        at=moment(made.at),
        took=duration(made.seconds),
        outcome=Badge(
            text=made.error or f"HTTP {made.status}", tone="good" if made.delivered else "bad"
        ),
        notes=", ".join(notes),
        target=made.target,
        request_headers=_headers(made.request_headers),
        answer_headers=_headers(made.answer_headers),
        answer_body=pretty(made.answer_body),
    )


def _headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, _short(value)) for name, value in headers.items()]


def _short(value: str) -> str:
    """A token is long, and nobody reads it."""
    if len(value) <= HEADER_CHARACTERS:
        return value
    return f"{value[:60]}…{value[-12:]} ({len(value):,} characters)"
