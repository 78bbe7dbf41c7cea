"""Bytes that one delivery leaves behind."""

from __future__ import annotations

from benchmarks.costs.handling import STORE, TYPES
from benchmarks.costs.site import Site
from benchmarks.simulation.costs import Sizes

ROUNDS = 3
DRAIN = "from django.core.management import call_command; call_command('gemini_webhooks', 'drain')"
WRITTEN = "SELECT pg_current_wal_insert_lsn() - '0/0'"
#: With its indexes, and with the versions of rows that nobody has cleared away yet.
SIZE = "SELECT pg_total_relation_size('{0}') / (SELECT count(*) FROM {0})::float"


def measure(site: Site, *, number: int, message: float) -> Sizes:
    """Of receipt and of handling; run it last, as tables are looked at as they are then."""
    received, handled = [], []
    site.empty()
    for turn in range(ROUNDS):
        before = site.number(WRITTEN)
        site.python(STORE, f"sizes{turn}", str(number), TYPES["one receiver"])
        between = site.number(WRITTEN)
        site.python(DRAIN)
        received.append((between - before) / number)
        handled.append((site.number(WRITTEN) - between) / number)
    return Sizes(
        # Whatever else writes on this server only ever adds.
        wal_received=min(received),
        wal_handled=min(handled),
        delivery=site.number(SIZE.format("gemini_webhooks_webhookdelivery")),
        run=site.number(SIZE.format("gemini_webhooks_receiverrun")),
        attempt=site.number(SIZE.format("gemini_webhooks_attempt")),
        message=message,
    )
