"""Finds jobs whose event never came, and does what the event would have done."""

from gemini_webhooks.reconcile.adopting import Audience, Candidate, Search, adopt, audiences
from gemini_webhooks.reconcile.passes import DISCOVER_SINCE, Report, reconcile

__all__ = [
    "DISCOVER_SINCE",
    "Audience",
    "Candidate",
    "Report",
    "Search",
    "adopt",
    "audiences",
    "reconcile",
]
