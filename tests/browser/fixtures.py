"""People at browsers, for whatever site is being tested."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings as project
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from tests import servers
from tests.browser.person import Chromium, Person, missing


def needs_a_browser() -> None:
    """Skip a test where there is none."""
    servers.go_without(missing())


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
    troubles = [trouble for person in people for trouble in person.troubles]
    assert troubles == [], troubles
