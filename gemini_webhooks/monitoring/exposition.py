"""What Prometheus scrapes: the figures of the processes, and those of the database."""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.db import Error as DatabaseTrouble
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gemini_webhooks import trends


class BacklogCollector(Collector):
    """Reads the backlog when it is asked for it.

    The database is the same for all processes: register it in one of them only, or take the
    maximum.
    """

    def describe(self) -> list[Metric]:
        """The gauges without values, so that nothing is read when this is registered."""
        return list(_gauges(None))

    def collect(self) -> Iterator[Metric]:
        """The gauges; without values if the database does not answer."""
        try:
            backlog = trends.backlog()
        except DatabaseTrouble:
            backlog = None
        yield from _gauges(backlog)


def render(accept: str) -> tuple[bytes, str]:
    """All figures, in the format that ``accept`` asks for, and its content type."""
    registry = CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # has no annotations
    else:
        registry.register(REGISTRY)
    registry.register(BacklogCollector())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _gauges(backlog: trends.Backlog | None) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "gemini_webhooks_database_up", "Whether the backlog could be read from the database: 1, 0."
    )
    up.add_metric([], float(backlog is not None))
    oldest = GaugeMetricFamily(
        "gemini_webhooks_oldest_waiting_seconds",
        "For how long that has been due or not taken up which has been so longest.",
    )
    deliveries = GaugeMetricFamily(
        "gemini_webhooks_deliveries", "Deliveries that are not done.", labels=["state"]
    )
    runs = GaugeMetricFamily(
        "gemini_webhooks_runs", "Runs of receivers that are not done, or dead.", labels=["state"]
    )
    results = GaugeMetricFamily(
        "gemini_webhooks_results", "Result files that are to be fetched.", labels=["state"]
    )
    if backlog is not None:
        oldest.add_metric([], backlog.oldest_seconds)
        for family, counts in (
            (deliveries, backlog.deliveries),
            (runs, backlog.runs),
            (results, backlog.results),
        ):
            for state, count in counts.items():
                family.add_metric([state], count)
    yield from (up, oldest, deliveries, runs, results)
