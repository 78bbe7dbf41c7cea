"""Runs receivers one by one and records the outcome.

Knows nothing of Celery: it says what is to be handed on as :class:`Handoff` values, and whoever
called does that, be it a task or a loop over the database.
"""

from gemini_webhooks.processing.draining import Drained, drain, drain_forever
from gemini_webhooks.processing.fetching import fetch_result
from gemini_webhooks.processing.handoffs import Handoff, handoffs_of
from gemini_webhooks.processing.passing import plan_all
from gemini_webhooks.processing.planning import plan, planned_for
from gemini_webhooks.processing.replaying import advance, plan_again, run_again
from gemini_webhooks.processing.resuming import let_go
from gemini_webhooks.processing.running import ReceiverNotConnected, run
from gemini_webhooks.processing.sweeping import Swept, sweep

__all__ = [
    "Drained",
    "Handoff",
    "ReceiverNotConnected",
    "Swept",
    "advance",
    "drain",
    "drain_forever",
    "fetch_result",
    "handoffs_of",
    "let_go",
    "plan",
    "plan_again",
    "plan_all",
    "planned_for",
    "run",
    "run_again",
    "sweep",
]
