"""What somebody has paused, and may have forgotten."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from gemini_webhooks import clock, pausing
from gemini_webhooks.doctor.findings import Finding, ok, warning
from gemini_webhooks.doctor.site import Site, Unreadable
from gemini_webhooks.models import Pause


def paused(site: Site) -> Iterator[Finding]:
    """Nothing is paused; nothing is said of it then."""
    del site
    try:
        found = pausing.paused()
    except Exception as error:  # noqa: BLE001  # without a database, or with half of one
        raise Unreadable(f"the pauses cannot be read: {type(error).__name__}") from None
    for one in found:
        pause, name = one.pause, pausing.name_of(one.pause)
        if pause.resumed_at is not None:
            yield ok("paused", f"“{name}” is resumed; {one.held} run(s) are still held.")
            continue
        since = f"{clock.aware(pause.paused_at):%Y-%m-%d %H:%M} UTC"
        yield warning(
            "paused",
            f"“{name}” is paused since {since}, by {pause.paused_by}: {one.held} run(s) are held.",
            f"`manage.py gemini_webhooks resume {_which(pause)}` lets them go.",
        )


def _which(pause: Pause) -> str:
    if pause.kind == Pause.Kind.ROOT:
        return "--root"
    return shlex.join([f"--{pause.kind}", pausing.name_of(pause)])
