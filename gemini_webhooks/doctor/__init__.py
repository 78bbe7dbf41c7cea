"""Tries the real thing and says what to do: the whole way of an event, one piece after the other.

Each check is a function that takes a :class:`~gemini_webhooks.doctor.site.Site` and yields
findings. None of them records a delivery or a refused request; only the ping, at the end, sends
an event.
"""

from gemini_webhooks.doctor.examination import examine
from gemini_webhooks.doctor.findings import Finding, Status
from gemini_webhooks.doctor.site import Scope

__all__ = ["Finding", "Scope", "Status", "examine"]
