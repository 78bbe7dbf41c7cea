"""Servers that are missing, databases to run on, senders of both signing modes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache

from gemini_webhooks import dispatch, leases, rejections, signals
from gemini_webhooks.deliveries import recording
from gemini_webhooks.processing import quickness
from gemini_webhooks.signals import EventSignal
from tests import servers
from tests.celery_app import app
from tests.senders import AUDIENCE, DynamicSender, Google, Sender, StaticSender, served_key_set
from tests.site.routers import ActiveAlias

ALIASES = {"default": "sqlite", "postgres": "postgres", "mariadb": "mariadb"}

every_database = pytest.mark.parametrize(
    "database",
    [
        pytest.param(
            alias,
            id=name,
            marks=[
                pytest.mark.django_db(
                    transaction=True,
                    databases=[alias] if servers.missing(name) is None else [],
                ),
                pytest.mark.server(name),
            ]
            if alias != "default"
            else [pytest.mark.django_db(transaction=True, databases=["default"])],
        )
        for alias, name in ALIASES.items()
    ],
    indirect=True,
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    servers.demand(item)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The alias that deliveries go to in this test."""
    alias: str = request.param
    ActiveAlias.alias = alias
    yield alias
    ActiveAlias.alias = "default"


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Undo what one test leaves in memory: caches, counters, receivers, messages."""
    cache.clear()
    dispatch.reset()
    leases.reset()
    quickness.reset()
    recording.reset()
    rejections.quota = rejections.Quota()
    connected = {
        name: list(signal.receivers)
        for name, signal in vars(signals).items()
        if isinstance(signal, EventSignal)
    }
    yield
    for name, receivers in connected.items():
        signal = getattr(signals, name)
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()
    with app.connection_for_write() as connection:
        connection.default_channel.queue_purge("celery")


@pytest.fixture(scope="session")
def google() -> Google:
    return Google()


@pytest.fixture(scope="session")
def jwks_url(google: Google) -> Iterator[str]:
    with served_key_set(google) as url:
        yield url


@pytest.fixture
def configured(settings: Any, jwks_url: str) -> dict[str, Any]:
    """A site that accepts both signing modes; returns its ``GEMINI_WEBHOOKS``."""
    settings.GEMINI_WEBHOOKS = {
        "SIGNING_SECRETS": [],
        "AUDIENCES": [AUDIENCE],
        "JWKS_URL": jwks_url,
        "PUBLIC_BASE_URL": "https://site.example",
        "FETCH_RESULTS": False,
        "RETRY_BASE_SECONDS": 0,
    }
    return settings.GEMINI_WEBHOOKS


@pytest.fixture
def static(configured: dict[str, Any]) -> StaticSender:
    sender = StaticSender()
    configured["SIGNING_SECRETS"].append(sender.secret)
    return sender


@pytest.fixture
def dynamic(configured: dict[str, Any], google: Google) -> DynamicSender:
    return DynamicSender(google=google)


@pytest.fixture(params=["hmac", "jwt-event", "jwt-body", "jwt-webhook_id", "jwt-unbound"])
def sender(request: pytest.FixtureRequest) -> Sender:
    """Each signing mode, and for tokens each thing that they may vouch for."""
    mode, _, binding = request.param.partition("-")
    if mode == "hmac":
        return request.getfixturevalue("static")
    sender = request.getfixturevalue("dynamic")
    sender.binding = binding
    return sender
