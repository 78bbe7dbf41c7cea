"""``self.gemini`` for a ``TestCase``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import TestCase

from gemini_webhooks.testing.gemini import Gemini

if TYPE_CHECKING:  # the mixin calls methods of the TestCase that it is mixed into
    Mixed = TestCase
else:
    Mixed = object


class GeminiWebhooksMixin(Mixed):
    """For a ``TestCase`` of Django's: ``self.gemini`` is a :class:`Gemini`.

    Name it before the ``TestCase``: ``class ReportTests(GeminiWebhooksMixin, TestCase)``.

    Raises:
        TypeError: it is named after the ``TestCase``, whose ``setUp()`` calls no other.
    """

    gemini: Gemini

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        if TestCase in order and order.index(TestCase) < order.index(GeminiWebhooksMixin):
            raise TypeError(
                "GeminiWebhooksMixin goes before the test case: "
                f"class {cls.__name__}(GeminiWebhooksMixin, TestCase)"
            )

    def setUp(self) -> None:
        """Enter it for each test."""
        super().setUp()
        self.gemini = self.enterContext(Gemini())
