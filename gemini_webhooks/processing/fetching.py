"""Fetches result files, and lets the receivers that wait for them start."""

from __future__ import annotations

from gemini_webhooks import deliveries, results
from gemini_webhooks.models import ReceiverRun, ResultFile
from gemini_webhooks.processing.failures import announce_failure
from gemini_webhooks.processing.handoffs import Handoff, startable


def fetch_result(result_id: int) -> list[Handoff]:
    """Fetch a result file and let the receivers that wait for it start."""
    outcome = results.fetch(result_id)
    if outcome.state == "retrying":
        return [Handoff(kind="result", id=result_id, delay=outcome.retry_in or 0)]
    if outcome.state == "busy":
        return []
    result = deliveries.rows(ResultFile).filter(pk=result_id).first()
    return after_fetch(result) if result else []


def after_fetch(result: ResultFile) -> list[Handoff]:
    """A result file ended: let the runs that wait for it start, or end as well."""
    if result.state == ResultFile.State.COMPLETE:
        return startable(deliveries.rows(ReceiverRun).filter(pk__in=deliveries.release(result.pk)))
    if result.state == ResultFile.State.FAILED:  # not one that a replay has fetched again
        for buried in deliveries.bury_waiting(result.pk, result.error):
            announce_failure(buried)
    return []
