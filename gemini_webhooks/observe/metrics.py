"""Prometheus: counters and histograms in the default registry of ``prometheus_client``.

Labels take values out of few: types that Google documents, codes, states, names of receivers.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from gemini_webhooks.events import CATALOGUE, UNDOCUMENTED_ENDS
from gemini_webhooks.observe.activities import Activity, Attempt, Fetch, Request, Sending
from gemini_webhooks.observe.observers import Observer

#: A sender can make up any type; each would be a series of its own.
TYPES = frozenset({*CATALOGUE, *UNDOCUMENTED_ENDS})

MINUTE, HOUR = 60.0, 3600.0
SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR)
VERY_LONG = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR)

RECEIVED = Counter(
    "gemini_webhooks_deliveries_received_total",
    "Verified events, stored now (accepted) or before (duplicate).",
    ["type", "signing", "outcome"],
)
REFUSED = Counter(
    "gemini_webhooks_requests_refused_total",
    "Requests that were refused or put off, by the code of the answer.",
    ["code"],
)
REQUEST_SECONDS = Histogram(
    "gemini_webhooks_request_seconds",
    "Time to answer a request to the webhook view, by the status of the answer.",
    ["status"],
    buckets=SHORT,
)
HANDOFF_FAILURES = Counter(
    "gemini_webhooks_handoff_failures_total",
    "Messages to workers that were not sent, or not in time; a sweep repeats them.",
    ["reason"],
)
RUNS = Counter(
    "gemini_webhooks_receiver_runs_total",
    "Attempts of receivers that ended.",
    ["receiver", "outcome"],
)
RUN_SECONDS = Histogram(
    "gemini_webhooks_receiver_run_seconds",
    "Time that an attempt of a receiver took.",
    ["receiver"],
    buckets=LONG,
)
GAVE_UP = Counter(
    "gemini_webhooks_receiver_runs_dead_total",
    "Runs that will not be tried again.",
    ["receiver"],
)
PROCESSING_SECONDS = Histogram(
    "gemini_webhooks_processing_seconds",
    "Time from receipt until all receivers of a delivery were done.",
    ["type"],
    buckets=VERY_LONG,
)
FETCHES = Counter(
    "gemini_webhooks_result_fetches_total",
    "Attempts to fetch a result file that ended.",
    ["outcome"],
)
FETCH_SECONDS = Histogram(
    "gemini_webhooks_result_fetch_seconds",
    "Time that an attempt to fetch a result file took.",
    buckets=LONG,
)
FETCHED_BYTES = Counter(
    "gemini_webhooks_result_bytes_total",
    "Bytes of result files that were fetched, those of broken downloads among them.",
)


class Observing(Observer):
    """Counts."""

    def end(self, activity: Activity, begun: object) -> None:  # noqa: ARG002  # nothing was kept
        """Count it, and how long it took."""
        match activity:
            case Request():
                REQUEST_SECONDS.labels(activity.status).observe(activity.seconds)
            case Sending() if activity.error is not None:
                HANDOFF_FAILURES.labels("error").inc()
            case Attempt():
                RUNS.labels(activity.receiver, activity.outcome).inc()
                RUN_SECONDS.labels(activity.receiver).observe(activity.seconds)
            case Fetch():
                FETCHES.labels(activity.outcome).inc()
                FETCH_SECONDS.observe(activity.seconds)
            case _:
                pass

    def received(self, event_type: str | None, signing: str, outcome: str) -> None:
        """Count it."""
        RECEIVED.labels(_type(event_type), signing, outcome).inc()

    def refused(self, code: str) -> None:
        """Count it."""
        REFUSED.labels(code).inc()

    def not_handed_off(self, reason: str) -> None:
        """Count it."""
        HANDOFF_FAILURES.labels(reason).inc()

    def processed(self, event_type: str, seconds: float) -> None:
        """Count it, and the time."""
        PROCESSING_SECONDS.labels(_type(event_type)).observe(seconds)

    def gave_up(self, receiver: str) -> None:
        """Count it."""
        GAVE_UP.labels(receiver).inc()

    def fetched(self, size: int) -> None:
        """Count the bytes."""
        FETCHED_BYTES.inc(size)


def _type(event_type: str | None) -> str:
    if event_type is None:
        return "unreadable"
    return event_type if event_type in TYPES else "other"
