"""A test that uses the kit needs nothing from outside, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import transaction

from gemini_webhooks import clock, dispatch, ingest, leases, receivers
from gemini_webhooks.dispatch import messages
from gemini_webhooks.observe import observers
from gemini_webhooks.results import fetching, spool
from gemini_webhooks.testing import Gemini, signatures
from gemini_webhooks.verification import jwks
from tests.senders import StaticSender
from tests.testing.conftest import Receiver, fails


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What goes to Celery."""
    sent: list[Any] = []
    monkeypatch.setattr(messages, "publish", lambda handoffs, **_: sent.append(handoffs))
    return sent


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, fails(AssertionError("there is no network")))


@pytest.mark.usefixtures("_no_network", "db")
@pytest.mark.parametrize("signing", ["hmac", "jwt", "trusted"])
def test_no_network_is_used(gemini_webhooks: Gemini, note: Receiver, signing: Any) -> None:
    with socket.socket() as tried, pytest.raises(AssertionError, match="no network"):
        tried.connect(("127.0.0.1", 9))

    outcome = gemini_webhooks.deliver("batch.succeeded", signing=signing, rows=[{"key": "a"}])

    outcome.assert_ran(note)
    outcome.replay()


@pytest.fixture(params=["worker", "eager"])
def _celery(request: pytest.FixtureRequest) -> Iterator[None]:
    app = messages.site_app()
    app.conf.task_always_eager = request.param == "eager"
    yield
    app.conf.task_always_eager = False


@pytest.mark.usefixtures("_celery")
@pytest.mark.django_db(transaction=True)
def test_nothing_goes_to_celery(
    gemini_webhooks: Gemini,
    note: Receiver,
    published: list[Any],
    static: StaticSender,
) -> None:
    gemini_webhooks.deliver("batch.succeeded").replay().assert_ran(note)
    assert published == []

    static.post()
    assert len(published) == 1


def test_callbacks_after_the_commit_are_the_receiver_s_alone(
    gemini_webhooks: Gemini,
    db: None,
    published: list[Any],
    django_capture_on_commit_callbacks: Any,
    note: Receiver,
) -> None:
    mails: list[str] = []
    note.does = lambda: transaction.on_commit(lambda: mails.append("sent"))

    with django_capture_on_commit_callbacks(execute=True):
        gemini_webhooks.deliver("batch.succeeded")

    assert (mails, published) == (["sent"], [])


def test_no_thread_renews_leases(gemini_webhooks: Gemini, db: None, note: Receiver) -> None:
    leases.reset()
    watched: list[int] = []
    note.does = lambda: watched.append(len(leases._watch._leases))

    gemini_webhooks.deliver("batch.succeeded").assert_ran(note)

    assert watched == [0]


SWAPPED = [
    (clock, "now"),
    (dispatch, "hand_off"),
    (dispatch, "hand_off_all"),
    (fetching, "source_for"),
    (ingest, "receive"),
    (jwks, "opener"),
    (leases, "renewing"),
    (observers, "_observers"),
    (spool, "part_file"),
]


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    before = [getattr(module, name) for module, name in SWAPPED]
    configured = django_settings.GEMINI_WEBHOOKS
    yield
    assert [getattr(module, name) for module, name in SWAPPED] == before
    assert django_settings.GEMINI_WEBHOOKS is configured


@pytest.mark.usefixtures("_as_it_was", "db")
def test_all_is_put_back(gemini_webhooks: Gemini, note: Receiver) -> None:
    note.does = fails(ValueError())
    with pytest.raises(ValueError):
        gemini_webhooks.deliver("batch.succeeded", signing="jwt")
    note.does = fails(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        gemini_webhooks.run_due(after=3600)
    with pytest.raises(AssertionError):
        gemini_webhooks.deliver("batch.succeeded", endpoint="nope")


def ask_far_away(slug: str) -> list[str]:
    asked.append(slug)
    return []


asked: list[str] = []


def test_a_store_of_secrets_is_not_asked(gemini_webhooks: Gemini, db: None, settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"SECRET_BACKEND": f"{__name__}.ask_far_away"}

    gemini_webhooks.deliver("batch.succeeded").assert_accepted()

    assert asked == []


def test_the_site_s_settings_are_the_receiver_s(
    gemini_webhooks: Gemini, db: None, note: Receiver, settings: Any
) -> None:
    seen: list[Any] = []
    settings.GEMINI_WEBHOOKS = {"SIGNING_SECRETS": ["nonsense"], "SECRET_BACKEND": "not.there"}
    note.does = lambda: seen.append(django_settings.GEMINI_WEBHOOKS)

    gemini_webhooks.deliver("batch.succeeded")

    assert seen == [settings.GEMINI_WEBHOOKS]


@pytest.mark.parametrize("backend", ["dummy.DummyCache", "locmem.LocMemCache"])
def test_key_sets_need_no_cache(
    gemini_webhooks: Gemini, db: None, settings: Any, backend: str
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}

    for _ in range(2):
        gemini_webhooks.deliver("batch.succeeded", signing="jwt").assert_accepted()


def test_each_process_has_a_key_set_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = signatures.key_set()
    assert signatures.key_set() is own

    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert signatures.key_set().url != own.url
    assert signatures.key_set().keys != own.keys
    with pytest.raises(OSError, match="not fetched in a test"):
        own.open(jwks.Request("https://www.googleapis.com/keys"), timeout=1)


@pytest.mark.django_db(transaction=True)
def test_deliveries_of_others_are_left_alone(
    gemini_webhooks: Gemini, static: StaticSender, note: Receiver, published: list[Any]
) -> None:
    receivers.on("batch.failed")(other := Receiver())
    static.post(static.envelope("batch.failed"))

    gemini_webhooks.deliver("batch.succeeded")

    assert (len(note.events), len(other.events)) == (1, 0)
