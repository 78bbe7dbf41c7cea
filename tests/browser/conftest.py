"""A site with a strict policy, Google's emulator beside it, and people at browsers."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from gemini_webhooks import gateway, registration
from gemini_webhooks.emulator import EmulatorServer
from tests.browser.fixtures import chromium, needs_a_browser, sit_down, site
from tests.browser.person import Person

__all__ = ["chromium", "sit_down", "site"]

KEY = "test-key-that-is-shown-nowhere"


def pytest_runtest_setup() -> None:
    needs_a_browser()


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
def operator(sit_down, superuser) -> Person:
    return sit_down(superuser)


@pytest.fixture
def viewer(sit_down, looking) -> Person:
    return sit_down(looking)
