"""Figures over time, and how things stand now: what a dashboard shows.

Deliveries are counted once, into buckets of five minutes; who looks reads those, and counts only
what came in since.
"""

from gemini_webhooks.trends.histogram import Latency
from gemini_webhooks.trends.overview import (
    EndpointHealth,
    FailingReceiver,
    Fetch,
    Overview,
    Paused,
    Results,
    Waiting,
    endpoints,
    failing,
    oldest_waiting,
    overview,
    paused,
    results,
)
from gemini_webhooks.trends.reading import PERIODS, Period, Point, Trends, read
from gemini_webhooks.trends.rolling import RolledUp, begin_again, roll_up
from gemini_webhooks.trends.waiting import Backlog, backlog

__all__ = [
    "PERIODS",
    "Backlog",
    "EndpointHealth",
    "FailingReceiver",
    "Fetch",
    "Latency",
    "Overview",
    "Paused",
    "Period",
    "Point",
    "Results",
    "RolledUp",
    "Trends",
    "Waiting",
    "backlog",
    "begin_again",
    "endpoints",
    "failing",
    "oldest_waiting",
    "overview",
    "paused",
    "read",
    "results",
    "roll_up",
]
