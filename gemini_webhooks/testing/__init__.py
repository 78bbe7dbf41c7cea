"""Test your receivers: Gemini's part is played in the test's own process.

No network, no broker, no worker, no Celery in eager mode::

    def test_report(gemini_webhooks, db):  # the fixture of the pytest plugin
        gemini_webhooks.deliver("batch.succeeded", metadata={"tenant": "acme"}).assert_ran(note)

With ``unittest``, :class:`GeminiWebhooksMixin` gives a ``TestCase`` the attribute ``gemini``.
"""

from gemini_webhooks.testing.bodies import make_event
from gemini_webhooks.testing.gemini import Gemini
from gemini_webhooks.testing.mixin import GeminiWebhooksMixin
from gemini_webhooks.testing.outcome import Outcome

__all__ = ["Gemini", "GeminiWebhooksMixin", "Outcome", "make_event"]
