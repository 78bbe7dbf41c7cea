"""Why this site refused what was posted to it; the answer says no more than a code."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from django.db import Error as DatabaseTrouble

from gemini_webhooks import clock
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import RejectedRequest
from gemini_webhooks.sending.posting import Answer
from gemini_webhooks.sending.requests import Request


def diagnosis_of(answer: Answer, request: Request, *, since: datetime) -> str:
    """What was noted in this database about refusing ``request``; empty if nothing was.

    Args:
        answer: to it.
        request: what was posted.
        since: aware time before it was posted.
    """
    code = answer.body.get("error") if isinstance(answer.body, dict) else None
    if answer.accepted or not isinstance(code, str):
        return ""
    # The digest tells it from what others send meanwhile; what is too large is refused unread.
    digests = ("", sha256(request.body).hexdigest())
    noted = rows(RejectedRequest).filter(
        reason=code,
        status=answer.status,
        body_digest__in=digests,
        received_at__gte=clock.for_database(since),
    )
    try:
        return noted.values_list("diagnosis", flat=True).first() or ""
    except DatabaseTrouble:
        return ""
