"""Fetches the output files that events announce, checks them and puts them into the storage."""

from gemini_webhooks.results.fetching import FetchOutcome, fetch

__all__ = ["FetchOutcome", "fetch"]
