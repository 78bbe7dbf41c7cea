"""A site with a strict policy, Google's emulator beside it, and people at browsers."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from django.conf import settings as project
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from gemini_webhooks import gateway, registration
from gemini_webhooks.emulator import EmulatorServer
from tests import servers
from tests.browser.person import Chromium, Person, missing

KEY = "test-key-that-is-shown-nowhere"


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = missing()
    if reason and servers.REQUIRED:
        pytest.fail(f"REQUIRE_SERVICES=1, but {reason}", pytrace=False)
    elif reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    with Chromium() as running:
        yield running


@pytest.fixture
def site(transactional_db, settings) -> Iterator[str]:
    """The base address of a site whose every page has the policy."""
    settings.MIDDLEWARE = [*project.MIDDLEWARE, "tests.browser.policy.strict_policy"]
    server = LiveServer("127.0.0.1")
    yield server.url
    server.stop()


@pytest.fixture
def google(request, site, settings, monkeypatch) -> Iterator[EmulatorServer]:
    """Google's emulator; options come by indirect parametrization."""
    pytest.importorskip("google.genai", reason="needs the extra [genai]")
    options = {"job_seconds": 0, "api_key": KEY, "retry_base": 0.01, "output": "inline"}
    with EmulatorServer(**options | getattr(request, "param", {})) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": site,
            "API_KEYS": {"default": KEY, "unset": "", "refused": "wrong-key"},
            "FETCH_RESULTS": False,
        }
        yield running
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture
def endpoint(google):
    return registration.create("acme", name="Acme", subscribed_events=["batch.succeeded"])


@pytest.fixture
def superuser(transactional_db):
    return get_user_model().objects.create_superuser("root", password="let-me-in")


@pytest.fixture
def looking(transactional_db):
    """A user who may look at everything of this app and do nothing else."""
    user = get_user_model().objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="gemini_webhooks", codename__startswith="view_"
        )
    )
    return user


@pytest.fixture
def sit_down(chromium, site) -> Iterator:
    """Open a browser for a user, or for nobody; whatever goes wrong in it fails the test."""
    people: list[Person] = []

    def open_window(user=None, *, javascript=True) -> Person:
        client = Client()
        if user:
            client.force_login(user)
        cookies = {name: morsel.value for name, morsel in client.cookies.items()}
        people.append(Person(chromium, site, cookies, javascript=javascript))
        return people[-1]

    yield open_window
    for person in people:
        person.close()
    assert [trouble for person in people for trouble in person.troubles] == []


@pytest.fixture
def operator(sit_down, superuser) -> Person:
    return sit_down(superuser)


@pytest.fixture
def viewer(sit_down, looking) -> Person:
    return sit_down(looking)
