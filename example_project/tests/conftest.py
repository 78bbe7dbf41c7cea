"""The studio with Google's emulator beside it; a worker's job is done when a test says so."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from example_project.studio.models import Commission, Tenant
from gemini_webhooks import gateway, processing
from gemini_webhooks.emulator import EmulatorServer
from tests import servers
from tests.browser.fixtures import chromium, sit_down, site

__all__ = ["chromium", "sit_down", "site"]

pytest.importorskip("google.genai", reason="needs the extra [genai]")
pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")


def pytest_runtest_setup(item: pytest.Item) -> None:
    servers.demand(item)


@pytest.fixture(autouse=True)
def quick(settings: Any, tmp_path: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.STUDIO_RETRY_SECONDS = 0
    settings.CELERY_BROKER_URL = "memory://"


@pytest.fixture
def google(
    request: pytest.FixtureRequest, site: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmulatorServer]:
    """Options of the emulator come by indirect parametrization."""
    options = {"job_seconds": 0, "retry_base": 0.01, **getattr(request, "param", {})}
    with EmulatorServer(**options) as running:
        for name in ("GOOGLE_GEMINI_BASE_URL", "STORAGE_EMULATOR_HOST"):
            monkeypatch.setenv(name, running.url)
        monkeypatch.setenv("GEMINI_API_KEY", "emulator")
        settings.PUBLIC_BASE_URL = site
        settings.GEMINI_WEBHOOKS = {
            **settings.GEMINI_WEBHOOKS,
            "PUBLIC_BASE_URL": site,
            "AUDIENCES": [f"{site}/webhooks/gemini/"],
            "ALLOWED_BUCKETS": ["gemini-emulator"],
            "JWKS_URL": f"{running.url}/.well-known/jwks.json",
            "RETRY_BASE_SECONDS": 0.01,
            "MAX_ATTEMPTS": 2,
        }
        yield running
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture
def work(google: EmulatorServer) -> Callable[[], None]:
    """Let everything end that runs at Google, and do what workers do, until nothing is left."""

    def until_nothing_is_left() -> None:
        for _ in range(8):
            assert google.emulator.outbox.wait_idle(20)
            processing.drain()
        assert google.emulator.outbox.wait_idle(20)

    return until_nothing_is_left


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def globex(transactional_db: None) -> Tenant:
    return Tenant.objects.create(slug="globex", name="Globex")


@pytest.fixture
def ada(acme: Tenant) -> Any:
    user = get_user_model().objects.create_user("ada", password="let-me-in")
    acme.members.add(user)
    return user


@pytest.fixture
def bo(globex: Tenant) -> Any:
    user = get_user_model().objects.create_user("bo", password="let-me-in")
    globex.members.add(user)
    return user


@pytest.fixture
def desk(ada: Any) -> Client:
    """Ada's browser."""
    client = Client()
    client.force_login(ada)
    return client


@pytest.fixture
def place(desk: Client, google: EmulatorServer) -> Callable[..., Commission]:
    """Ask for something as Ada does, by the form."""

    def ask(kind: str, prompt: str, **fields: str) -> Commission:
        answer = desk.post(f"/studio/acme/new/{kind}/", {"prompt": prompt, **fields})
        assert answer.status_code == 302, answer.content.decode()
        return Commission.objects.latest("pk")

    return ask


@pytest.fixture
def asked(place: Callable[..., Commission], work: Callable[[], None]) -> Commission:
    """An interaction that waits until somebody says whether it may publish."""
    commission = place("interaction", "need-action", may_publish="on")
    work()
    return commission


@pytest.fixture
def decide(desk: Client) -> Callable[..., Any]:
    """Press a button of the page that shows what the newest interaction asks for."""

    def press(commission: Commission, verdict: str, **fields: str) -> Any:
        commission.refresh_from_db()
        form = {"verdict": verdict, "interaction": commission.resource_id, **fields}
        return desk.post(f"{commission.get_absolute_url()}decide/", form, follow=True)

    return press


@pytest.fixture
def read(desk: Client) -> Callable[[str], str]:
    """What Ada reads at an address."""
    return lambda path: desk.get(path).content.decode()


@pytest.fixture
def page(read: Callable[[str], str]) -> Callable[[Commission], str]:
    """What Ada reads on a commission's page."""
    return lambda commission: read(commission.get_absolute_url())
