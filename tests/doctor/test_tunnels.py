"""The doctor on a developer's machine, behind something that passes requests on to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import build_opener

import pytest

from gemini_webhooks import registration
from gemini_webhooks.doctor import web
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.models import RejectedRequest, WebhookDelivery
from tests.doctor import tunnels
from tests.doctor.conftest import answering, doctor
from tests.doctor.tunnels import Tunnel

pytestmark = pytest.mark.django_db(transaction=True)

INSIDE, OUTSIDE = "inside, endpoint “acme”", "outside, endpoint “acme”"
PING = "ping, endpoint “acme”"
PUBLIC = "public address"
ENDPOINT = "/webhooks/gemini/acme/"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tunnels.certificate(tmp_path_factory.mktemp("tunnel"))


@pytest.fixture
def tunnel(
    pem: Path, live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Tunnel]]:
    """Starts a tunnel to the site, whose certificate everybody here trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    # It has read the certificates before, from Python 3.12 on.
    monkeypatch.setattr(web, "_opener", build_opener(web._NoRedirects))
    settings.ALLOWED_HOSTS = ["localhost"]
    with ExitStack() as stack:

        def start(site: str = live_server.url, **options: Any) -> Tunnel:
            return stack.enter_context(tunnels.running(Tunnel(site=site, **options), pem))

        yield start


@pytest.fixture
def behind(
    tunnel: Callable[..., Tunnel], api: EmulatorServer, configured: dict[str, Any]
) -> Callable[..., Tunnel]:
    """Starts a tunnel and registers an endpoint with its address."""

    def start(**options: Any) -> Tunnel:
        made = tunnel(**options)
        configured["PUBLIC_BASE_URL"] = made.url
        registration.create("acme", subscribed_events=["batch.succeeded"])
        return made

    return start


# --- what works


@pytest.mark.parametrize("redirects", [False, True])
def test_a_ping_comes_through_a_tunnel(
    behind: Callable[..., Tunnel], api: EmulatorServer, settings: Any, redirects: bool
) -> None:
    settings.ALLOWED_HOSTS = [tunnels.HOST]
    settings.SECURE_SSL_REDIRECT = redirects
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    made = behind()

    report = doctor()

    assert [report.status(name) for name in (INSIDE, OUTSIDE, PING)] == ["ok"] * 3
    assert report[OUTSIDE]["message"] == f"{made.url}{ENDPOINT} answers over https."
    assert api.emulator.outbox.wait_idle(10)
    assert made.passed == [405, 200]
    assert WebhookDelivery.objects.get().endpoint.slug == "acme"
    assert not RejectedRequest.objects.exists()


def test_a_tunnel_that_tells_the_site_its_own_host(behind: Callable[..., Tunnel]) -> None:
    behind(rewrites_host=True)

    report = doctor()

    assert report.status(OUTSIDE) == report.status(PING) == "ok"
    assert report.status(INSIDE) == "failure"
    assert f'Add "{tunnels.HOST}" to ALLOWED_HOSTS' in report[INSIDE]["hint"]
    assert "let it pass on this one" in report[INSIDE]["hint"]


def test_a_ping_comes_through_a_relay(
    tunnel: Callable[..., Tunnel],
    api: EmulatorServer,
    configured: dict[str, Any],
    live_server: Any,
) -> None:
    relay = tunnel(relays_to=ENDPOINT)
    configured["PUBLIC_BASE_URL"] = live_server.url
    endpoint = registration.create("acme", subscribed_events=["batch.succeeded"])
    registration.update(endpoint, uri=f"{relay.url}{tunnels.RELAY_PATH}")

    report = doctor()

    assert report.status(INSIDE) == report.status(PING) == "ok"
    assert report.status("drift, API key “default”") == "ok"
    assert report[OUTSIDE]["status"] == "warning"
    assert relay.url.removeprefix("https://") in report[OUTSIDE]["message"]
    assert "only the ping can tell" in report[OUTSIDE]["message"]
    assert f"update acme --uri {live_server.url}{ENDPOINT}" in report[OUTSIDE]["hint"]
    assert api.emulator.outbox.wait_idle(10)
    assert relay.passed == [200]  # nothing but the ping


# --- what does not


def test_the_name_of_the_tunnel_is_not_allowed(behind: Callable[..., Tunnel]) -> None:
    behind()

    report = doctor("--timeout", "0.3")

    for name in (INSIDE, OUTSIDE):
        assert report[name]["status"] == "failure"
        assert f'Add "{tunnels.HOST}" to ALLOWED_HOSTS' in report[name]["hint"]
    assert "did not arrive" in report[PING]["message"]


def test_the_site_behind_the_tunnel_is_down(behind: Callable[..., Tunnel]) -> None:
    behind(site="http://127.0.0.1:1")

    report = doctor("--timeout", "0.3")

    assert "a proxy answers 502" in report[OUTSIDE]["message"]
    assert "Start the web server" in report[OUTSIDE]["hint"]
    assert "tunnel" in report[PING]["hint"]


@pytest.mark.parametrize(
    ("answer", "said", "hint"),
    [
        (
            {"status": 200, "body": b" <!DOCTYPE html><title>You are about to visit"},
            "something else answers, with status 200 and a web page",
            "show a page of its own first",
        ),
        (
            {"status": 404, "ngrok-error-code": "ERR_NGROK_3200"},
            "ngrok itself answers, with the error ERR_NGROK_3200",
            "Is the agent running",
        ),
        (
            {"status": 502, "ngrok-error-code": "ERR_NGROK_8012"},
            "ERR_NGROK_8012",
            "the port of the web server",
        ),
        ({"status": 530, "body": b"error code: 1033"}, "no tunnel is connected", "new name"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_the_tunnel_itself_answers(
    configured: dict[str, Any], answer: dict[str, Any], said: str, hint: str
) -> None:
    with answering(**answer) as url:
        configured["PUBLIC_BASE_URL"] = url
        found = doctor()["outside, root"]

    assert found["status"] == "failure"
    assert said in found["message"]
    assert hint in found["hint"]


@pytest.mark.parametrize(
    "base",
    ["http://localhost:8000", "http://127.0.0.1:8000", "https://192.168.0.7", "https://pc.local"],
)
def test_google_cannot_reach_this_machine(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch, settings: Any, base: str
) -> None:
    configured["PUBLIC_BASE_URL"] = base
    monkeypatch.setattr("gemini_webhooks.doctor.outside.TIMEOUT_SECONDS", 0.2)
    assert doctor().all(PUBLIC) == []  # with a Gemini API on this machine

    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "https://gemini.invalid")
    found = doctor()[PUBLIC]

    assert found["status"] == "warning"
    assert f"PUBLIC_BASE_URL is {base}: Google cannot reach that" in found["message"]
    assert "tunnel" in found["hint"]


def test_google_can_reach_the_others(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured["PUBLIC_BASE_URL"] = "https://nowhere.invalid"
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "https://gemini.invalid")

    assert doctor().all(PUBLIC) == []
