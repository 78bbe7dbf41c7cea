"""What is different while a test delivers or works; all of it is put back afterwards.

Functions of this package are replaced from here, so that the code that runs in production has no
switch for tests that somebody could leave on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.conf import settings as django_settings
from django.core.files.storage import InMemoryStorage
from django.test import override_settings
from django.utils import timezone

from gemini_webhooks import clock, dispatch, leases
from gemini_webhooks.conf import SETTING, settings
from gemini_webhooks.exceptions import GiveUp, RetryLater
from gemini_webhooks.models.fields import ResultFileField
from gemini_webhooks.observe import Observer, observers
from gemini_webhooks.observe.activities import Activity, Attempt
from gemini_webhooks.results import fetching, sources, spool
from gemini_webhooks.testing import files, signatures
from gemini_webhooks.testing.files import GivenFiles
from gemini_webhooks.verification import jwks

#: What a receiver may raise without having failed.
INSTRUCTIONS = (RetryLater, GiveUp)


class Witness(Observer):
    """Sees the receivers run, and keeps what they raised."""

    def __init__(self) -> None:
        self.attempts = 0
        self.errors: list[BaseException] = []

    def end(self, activity: Activity, begun: Any) -> None:  # noqa: ARG002  # of the base
        """One has ended."""
        if not isinstance(activity, Attempt):
            return
        self.attempts += 1
        if activity.error is not None and not isinstance(activity.error, INSTRUCTIONS):
            self.errors.append(activity.error)


@contextmanager
def results_in_memory() -> Iterator[None]:
    """Keep result files in memory, whatever ``RESULT_STORAGE`` is, and even if that changes."""
    memory = InMemoryStorage()
    with patch.object(ResultFileField, "storage", property(lambda _: memory, lambda *_: None)):
        yield


@contextmanager
def without_broker() -> Iterator[None]:
    """Hand nothing off, neither to a broker nor to Celery in eager mode: it is done here."""
    with (
        patch.object(dispatch, "hand_off", lambda _delivery_id: None),
        patch.object(dispatch, "hand_off_all", lambda _find: None),
    ):
        yield


@contextmanager
def receiving() -> Iterator[None]:
    """Have the site accept what :mod:`signatures` signs, besides what it accepts anyway."""
    changed = {
        **(getattr(django_settings, SETTING, None) or {}),
        "SIGNING_SECRETS": [*settings.SIGNING_SECRETS, signatures.ROOT_SECRET],
        "SECRET_BACKEND": None,  # it may be far away
        "AUDIENCES": settings.AUDIENCES or [signatures.AUDIENCE],
        "JWKS_URL": signatures.key_set().url,
    }
    with ExitStack() as stack:
        stack.enter_context(override_settings(**{SETTING: changed}))
        stack.enter_context(patch.object(jwks, "opener", signatures.key_set()))
        stack.enter_context(without_broker())
        yield


@contextmanager
def working(given: GivenFiles) -> Iterator[Witness]:
    """Do the work of a worker in this process, on this connection to the database."""
    witness = Witness()
    with ExitStack() as stack:
        # Renewed from another connection, which waits for the transaction of a TestCase or does
        # not see what is in it.
        stack.enter_context(patch.object(leases, "renewing", nullcontext))
        source_for = given.instead_of(sources.source_for)
        stack.enter_context(patch.object(fetching, "source_for", source_for))
        stack.enter_context(patch.object(spool, "part_file", files.part_file))
        watching = [*observers.observing(), witness]
        stack.enter_context(patch.object(observers, "_observers", watching))
        stack.enter_context(without_broker())
        yield witness


@contextmanager
def later(wait: timedelta) -> Iterator[None]:
    """Let the time of this app be so much later."""
    with patch.object(clock, "now", lambda: timezone.now() + wait):
        yield
