"""The pytest plugin: one fixture. Installed for every project, so it imports nothing of Django."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gemini_webhooks.testing import Gemini


@pytest.fixture
def gemini_webhooks() -> Iterator[Gemini]:
    """A :class:`~gemini_webhooks.testing.Gemini` for this test.

    Ask for the database besides, in the way of pytest-django: ``db`` or ``mark.django_db``.
    """
    from gemini_webhooks.testing import Gemini  # noqa: PLC0415  # needs Django's settings

    with Gemini() as gemini:
        yield gemini
