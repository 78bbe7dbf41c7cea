"""The mixin, with each kind of Django's test cases."""

from __future__ import annotations

import io
import unittest
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings

from gemini_webhooks import receivers
from gemini_webhooks.models import ReceiverRun
from gemini_webhooks.testing import GeminiWebhooksMixin, Outcome, make_event


def greet(event: Any, **_: Any) -> None:
    User.objects.create(username=event.user_metadata["name"])


async def greet_later(event: Any, **_: Any) -> None:
    await User.objects.acreate(username=f"{event.user_metadata['name']} later")


class Connected(GeminiWebhooksMixin):
    def setUp(self) -> None:
        super().setUp()
        receivers.on("interaction.completed")(greet)
        receivers.on("interaction.completed")(greet_later)

    def check(self) -> None:
        outcome = self.gemini.deliver("interaction.completed", metadata={"name": "Ada"})

        outcome.assert_ran(greet)
        outcome.assert_ran(greet_later)
        assert User.objects.count() == 2


class InATransaction(Connected, TestCase):
    def test_it_runs(self) -> None:
        self.check()

    def test_nothing_is_left_of_the_other_test(self) -> None:
        self.check()

    async def test_asynchronously(self) -> None:
        deliver = sync_to_async(self.gemini.deliver)
        outcome = await deliver("interaction.completed", metadata={"name": "Bob"})

        assert await User.objects.filter(username="Bob later").aexists()
        await sync_to_async(outcome.assert_ran)(greet_later)

    @override_settings(GEMINI_WEBHOOKS={"MAX_ATTEMPTS": 1})
    def test_a_failure(self) -> None:
        with self.assertRaisesMessage(KeyError, "name"):
            self.gemini.deliver("interaction.completed")

        assert set(ReceiverRun.objects.values_list("state", flat=True)) == {"dead"}


class WithCommits(Connected, TransactionTestCase):
    def test_it_runs(self) -> None:
        self.check()


class WithoutDatabase(SimpleTestCase):
    def test_a_receiver_as_a_function(self) -> None:
        with pytest.raises(KeyError):
            greet(make_event("interaction.completed"))


def test_the_mixin_named_last() -> None:
    with pytest.raises(TypeError, match=r"class ReportTests\(GeminiWebhooksMixin, TestCase\)"):

        class ReportTests(TestCase, GeminiWebhooksMixin):
            pass


def test_what_fails_is_shown_where_the_test_asserts_it() -> None:
    class Fails(unittest.TestCase):
        def test(self) -> None:
            told = {"webhook_id": "m", "event_type": "t", "status_code": 400}
            outcome = Outcome(**told, answer={"error": "e"}, _worker=None)  # type: ignore[arg-type]
            outcome.assert_accepted()

    printed = io.StringIO()
    unittest.TextTestRunner(printed).run(Fails("test"))

    assert "AssertionError: it was not accepted.\nt m: 400 e" in printed.getvalue()
    assert "outcome.assert_accepted()" in printed.getvalue()
    assert "outcome.py" not in printed.getvalue()
