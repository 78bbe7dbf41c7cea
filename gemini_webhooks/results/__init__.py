"""Fetches the output files that events announce, checks them and puts them into the storage.

When their time is over, :mod:`gemini_webhooks.results.removal` takes them out again.
"""

from gemini_webhooks.results.fetching import FetchOutcome, fetch

__all__ = ["FetchOutcome", "fetch"]
