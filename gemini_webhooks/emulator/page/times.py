"""Times for people at the machine that the emulator runs on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gemini_webhooks.emulator.resources import now


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time as the page shows it.

    Attributes:
        clock: on the wall, in the machine's own time zone.
        iso: for the script and whoever wants to know exactly.
    """

    clock: str
    iso: str


def moment(when: datetime) -> Moment:
    """An aware time; the day is shown if it is not today."""
    local = when.astimezone()
    is_today = local.date() == now().astimezone().date()
    form = "%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S"
    return Moment(clock=local.strftime(form), iso=local.isoformat(timespec="milliseconds"))


def duration(seconds: float) -> str:
    """How long something took, as short as it makes sense."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
