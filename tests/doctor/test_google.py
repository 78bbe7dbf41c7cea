"""Clock, API keys, drift, key set and the ping, against the emulator."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from django.utils import timezone

from gemini_webhooks import registration
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.models import SigningSecret, WebhookDelivery, WebhookEndpoint
from tests.admin import rows
from tests.doctor.conftest import KEY, answering, doctor
from tests.senders import Google, new_secret

pytestmark = pytest.mark.django_db(transaction=True)

API_KEY = "API key “default”"
DRIFT = "drift, API key “default”"
PING = "ping, endpoint “acme”"


@pytest.fixture
def endpoint(api: EmulatorServer, live_server: Any, configured: dict[str, Any]) -> WebhookEndpoint:
    configured["PUBLIC_BASE_URL"] = live_server.url
    return registration.create("acme", subscribed_events=["batch.succeeded"])


# --- the clock


@pytest.mark.parametrize(
    ("ahead", "status", "said"),
    [
        (0, "ok", "agrees with the Gemini API's"),
        (40, "warning", r"(39|40|41) s ahead\."),
        (-40, "warning", r"(39|40|41) s behind\."),
        (200, "failure", r"(199|200|201) s ahead; beyond 300 s .* every event is refused"),
    ],
)
def test_clock(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch, ahead: int, status: str, said: str
) -> None:
    with answering(status=404, Date=formatdate(time.time() - ahead, usegmt=True)) as url:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
        found = doctor()["clock"]

    assert found["status"] == status
    assert re.search(said, found["message"])


def test_clock_that_nobody_tells(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "connection was refused" in doctor()["clock"]["message"]

    with answering() as url:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
        assert doctor().status("clock") == "skipped"


# --- API keys


def test_api_key_that_works(api: EmulatorServer) -> None:
    report = doctor()

    assert report.status(API_KEY) == "ok"
    assert report.status("clock") == "ok"
    assert KEY not in json.dumps(report.findings)


def test_api_keys_that_do_not(api: EmulatorServer, configured: dict[str, Any]) -> None:
    configured["API_KEYS"] = {"default": None, "other": "wrong-key", "used": ""}
    WebhookEndpoint.objects.create(slug="acme", api_key_name="used")
    WebhookEndpoint.objects.create(slug="bolt", api_key_name="gone")

    report = doctor()

    assert report.status(API_KEY) == "warning"
    assert "GEMINI_API_KEY" in report[API_KEY]["hint"]
    assert report.status("API key “used”") == report.status("API key “gone”") == "failure"
    assert "not valid" in report["API key “other”"]["message"]
    assert "Make a new key" in report["API key “other”"]["hint"]
    assert "wrong-key" not in json.dumps(report.findings)
    assert doctor("--endpoint", "acme").all(API_KEY) == []


@pytest.mark.parametrize(("status", "hint"), [(429, "quota"), (503, "Trouble on Google's side")])
def test_api_that_refuses(api: EmulatorServer, status: int, hint: str) -> None:
    api.emulator.faults.fail_next(status=status, path_contains="webhooks", times=20)

    assert hint in doctor()[API_KEY]["hint"]


def test_api_that_is_not_there(api: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1")

    report = doctor()

    assert "reach the Gemini API" in report[API_KEY]["hint"]
    assert report.status(DRIFT) == "skipped"


# --- drift


def test_no_drift(endpoint: WebhookEndpoint) -> None:
    report = doctor("--no-ping")

    assert report.status(DRIFT) == "ok"
    assert "1 endpoint" in report[DRIFT]["message"]
    assert report.status("ping") == "skipped"


def test_drift_of_every_kind(api: EmulatorServer, endpoint: WebhookEndpoint) -> None:
    webhooks = api.emulator.webhooks
    gone = registration.create("gone")
    off = registration.create("off")
    WebhookEndpoint.objects.create(slug="bare", state_changed_at=timezone.now())
    strange = registration.create("strange")
    webhooks.get(endpoint.remote_id).change({"name": "Other"})
    webhooks.remove(gone.remote_id)
    webhooks.get(off.remote_id).change({"state": "disabled_due_to_failed_deliveries"})
    WebhookEndpoint.objects.filter(pk=strange.pk).delete()
    before = list(WebhookEndpoint.objects.order_by("pk").values())

    report = doctor("--no-ping")

    assert [(found["status"], found["message"]) for found in report.all(DRIFT)] == [
        ("failure", "Google does not have the webhook of “gone” any more, and delivers nothing."),
        (
            "failure",
            (
                "“bare” was never registered at Google, or its creation broke off: "
                "Google delivers nothing to it."
            ),
        ),
        ("failure", "Google switched “off” off, as its deliveries failed."),
        ("warning", "“acme”: name is acme here, Other at Google."),
        ("warning", "Google has a webhook “strange” that this site does not know."),
    ]
    assert list(WebhookEndpoint.objects.order_by("pk").values()) == before
    assert [found["status"] for found in doctor("--no-ping", "--endpoint", "acme").all(DRIFT)] == [
        "warning"
    ]


# --- the key set


def test_key_set(configured: dict[str, Any]) -> None:
    assert doctor().status("key set") == "ok"

    configured["AUDIENCES"] = []
    assert doctor().status("key set") == "skipped"

    WebhookEndpoint.objects.create(slug="acme", audiences=["aud"])
    assert doctor().status("key set") == "ok"


@pytest.mark.parametrize(
    ("status", "keys"),
    [
        (404, []),
        (200, []),
        (200, [{"kty": "oct", "kid": "a", "k": "c2VjcmV0"}]),
        (200, [{"kty": "RSA", "kid": "a", "n": 1}]),
        (200, None),
    ],
)
def test_key_set_without_keys(configured: dict[str, Any], status: int, keys: Any) -> None:
    with answering(status=status, body=json.dumps({"keys": keys}).encode()) as url:
        configured["JWKS_URL"] = url
        found = doctor()["key set"]

    assert found["status"] == "failure"
    assert "no RSA signature key" in found["message"]


def test_key_set_that_is_not_there(configured: dict[str, Any], google: Google) -> None:
    configured["JWKS_URL"] = "http://127.0.0.1:1/jwks.json"

    assert "connection was refused" in doctor()["key set"]["message"]


# --- the ping


def test_ping_arrives(endpoint: WebhookEndpoint) -> None:
    report = doctor()

    assert report.status(PING) == "ok"
    assert WebhookDelivery.objects.get().endpoint == endpoint


def test_ping_that_is_refused(endpoint: WebhookEndpoint) -> None:
    other = registration.secrets.store(endpoint, new_secret())
    SigningSecret.objects.exclude(pk=other.pk).delete()

    found = doctor()[PING]

    assert found["status"] == "failure"
    assert "signature_mismatch, signature matches no known secret" in found["message"]
    assert "rotate acme" in found["hint"]


def test_ping_that_does_not_arrive(endpoint: WebhookEndpoint, configured: dict[str, Any]) -> None:
    registration.update(endpoint, uri="http://127.0.0.1:1/webhooks/gemini/acme/")
    started = time.monotonic()

    report = doctor("--timeout", "0.5")

    assert report.exit_code == 1
    assert "did not arrive at http://127.0.0.1:1/" in report[PING]["message"]
    assert "firewall" in report[PING]["hint"]
    assert time.monotonic() - started < 20


@pytest.fixture
def instead(
    endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], object]], None]:
    """Has something else happen where a ping would be sent."""
    return lambda act: monkeypatch.setattr(registration, "ping", lambda endpoint: act())


def test_find_of_the_reconciler_is_no_ping(
    endpoint: WebhookEndpoint, instead: Callable[[Callable[[], object]], None]
) -> None:
    instead(lambda: rows.delivery(endpoint=endpoint, source="reconciler"))

    found = doctor("--timeout", "0.3")[PING]

    assert (found["status"], "did not arrive" in found["message"]) == ("failure", True)


def test_event_about_a_job_is_not_taken_for_the_ping(
    endpoint: WebhookEndpoint, instead: Callable[[Callable[[], object]], None]
) -> None:
    instead(lambda: rows.delivery(endpoint=endpoint, event_type="batch.succeeded"))

    found = doctor()[PING]

    assert found["status"] == "ok"
    assert found["message"].startswith("An event of type batch.succeeded arrived and was accepted")


def test_pings_of_several_endpoints_are_waited_for_together(endpoint: WebhookEndpoint) -> None:
    for number in range(3):
        WebhookEndpoint.objects.create(slug=f"away-{number}", api_key_name="default")
    registration.disable(registration.create("off"))

    report = doctor()

    assert report.status(PING) == "ok"
    assert "not registered at Google" in report["ping, endpoint “away-0”"]["message"]
    assert report.status("ping, endpoint “off”") == "skipped"


def test_one_endpoint_alone(endpoint: WebhookEndpoint) -> None:
    registration.create("bolt")

    names = [found["name"] for found in doctor("--endpoint", "acme").findings]

    assert PING in names
    assert not [name for name in names if "bolt" in name or "root" in name]
