"""States as coloured words. The word alone says it all; colour helps to scan a list."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString

TONES = {
    # deliveries
    "received": "waiting",
    "processing": "active",
    "processed": "good",
    "failed": "bad",
    "ignored": "quiet",
    "unreadable": "warning",
    # receiver runs
    "pending": "waiting",
    "running": "active",
    "succeeded": "good",
    "retrying": "warning",
    "dead": "bad",
    # attempts
    "postponed": "waiting",
    "gave_up": "bad",
    "skipped": "quiet",
    "lost": "bad",
    # result files
    "fetching": "active",
    "complete": "good",
    "removed": "quiet",
    # endpoints
    "enabled": "good",
    "disabled": "quiet",
    "disabled_due_to_failed_deliveries": "bad",
    # signing secrets
    "valid": "good",
    "expiring": "warning",
    "expired": "quiet",
    "revoked": "quiet",
    # jobs
    "submitted": "waiting",
    "cancelled": "quiet",
    "requires_action": "warning",
    # dead letters
    "open": "bad",
    "muted": "quiet",
    # replays
    "finished": "good",
    "stopped": "quiet",
    # pauses
    "paused": "warning",
    "letting_go": "active",
    "ended": "quiet",
}


def badge(state: str, label: str | Promise) -> SafeString:
    """Render ``label`` in the tone of ``state``; an unknown state gets the quiet one."""
    tone = TONES.get(state, "quiet")
    return format_html('<span class="gw-badge gw-badge-{}">{}</span>', tone, label)
