"""Switches webhooks off whose events are given up again and again."""

from __future__ import annotations

import threading

from gemini_webhooks.emulator.registered import DISABLED_BY_FAILURES, Webhook
from gemini_webhooks.emulator.switches import Switches


class ShutOff:
    """Counts the events in a row that failed all their tries.

    Args:
        switches: ``disable_after`` and ``report``.
        lock: the emulator's.
    """

    def __init__(self, switches: Switches, lock: threading.RLock) -> None:
        self._switches = switches
        self._lock = lock

    def delivered(self, webhook: Webhook) -> None:
        """An event was accepted: count anew."""
        with self._lock:
            webhook.failed_events = 0

    def given_up(self, webhook: Webhook) -> None:
        """An event failed all its tries: switch the webhook off if it was one too many."""
        limit = self._switches.now.disable_after
        with self._lock:
            webhook.failed_events += 1
            if not limit or webhook.failed_events < limit or not webhook.receives:
                return
            webhook.change({"state": DISABLED_BY_FAILURES})
        self._switches.now.report(f"webhook {webhook.id} {DISABLED_BY_FAILURES}")
