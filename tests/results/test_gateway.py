"""The gateway, against the emulator, with the official SDK."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("google.genai", reason="needs google-genai, extra genai")

from django.http import HttpResponse

from gemini_webhooks import gateway
from gemini_webhooks.emulator import server
from gemini_webhooks.exceptions import ConfigurationError, GatewayError

URI = "https://site.example/webhooks/gemini/"
EVENTS = ["batch.succeeded", "video.generated"]


def create(name: str = "mine") -> gateway.RemoteWebhook:
    return gateway.create_webhook(
        api_key_name="default", name=name, uri=URI, subscribed_events=EVENTS
    )


def test_a_created_webhook_tells_its_secret_once(google):
    created = create()
    assert created.new_signing_secret.startswith("whsec_")
    assert created.new_signing_secret not in repr(created)

    read = gateway.get_webhook(api_key_name="default", webhook_id=created.id)

    assert read == gateway.RemoteWebhook(
        id=created.id,
        name="mine",
        uri=URI,
        subscribed_events=tuple(EVENTS),
        state="enabled",
        new_signing_secret=None,
    )


def test_all_pages_are_listed(google, monkeypatch):
    monkeypatch.setattr(gateway, "PAGE_SIZE", 2)
    made = {create(str(number)).id for number in range(5)}
    listed = gateway.list_webhooks(api_key_name="default")
    assert len(listed) == 5
    assert {webhook.id for webhook in listed} == made
    assert sum(seen.path.endswith("/webhooks") for seen in google.requests) == 5 + 3


def test_a_ping_is_sent_and_a_deleted_webhook_is_gone(google):
    created = create()
    gateway.ping_webhook(api_key_name="default", webhook_id=created.id)
    assert google.requests[-1].path.endswith(f"/webhooks/{created.id}:ping")

    gateway.delete_webhook(api_key_name="default", webhook_id=created.id)

    with pytest.raises(GatewayError) as caught:
        gateway.get_webhook(api_key_name="default", webhook_id=created.id)
    assert caught.value.status == 404
    assert caught.value.permanent


def answering(monkeypatch: pytest.MonkeyPatch, response: HttpResponse) -> None:
    monkeypatch.setattr(server, "respond", lambda _request: response)


CALLS = [
    pytest.param(lambda: gateway.get_webhook(api_key_name="default", webhook_id="w"), id="webhook"),
    pytest.param(lambda: gateway.get_file(api_key_name="default", name="files/f"), id="file"),
    pytest.param(
        lambda: gateway.batch_output(api_key_name="default", name="batches/b"), id="batch"
    ),
]


@pytest.mark.parametrize("call", CALLS)
def test_the_error_is_googles_own_text_and_status(google, monkeypatch, call):
    body = b'{"error": {"code": 403, "message": "Quota is used up.", "status": "DENIED"}}'
    answering(monkeypatch, HttpResponse(body, status=403, content_type="application/json"))
    with pytest.raises(GatewayError, match=r"^Quota is used up\.$") as caught:
        call()
    assert caught.value.status == 403


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>payload</html>", b"[1, 2]", b'"text"', b"\xff\xfe", b'{"error": "payload"}'],
)
def test_an_error_without_a_text_is_told_by_its_status(google, monkeypatch, call, body):
    answering(monkeypatch, HttpResponse(body, status=400, content_type="application/json"))
    with pytest.raises(GatewayError) as caught:
        call()
    assert "payload" not in str(caught.value)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("body", [b"<html>payload</html>", b'{"payload', b"[" * 100_000])
def test_an_answer_that_makes_no_sense_is_a_gateway_error(google, monkeypatch, call, body):
    answering(monkeypatch, HttpResponse(body, content_type="application/json"))
    with pytest.raises(GatewayError) as caught:
        call()
    assert "payload" not in str(caught.value)
    assert not caught.value.permanent


@pytest.mark.parametrize("call", CALLS)
def test_no_answer_is_a_gateway_error_without_a_status(google, monkeypatch, call):
    monkeypatch.setenv(gateway.BASE_URL_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(GatewayError, match="no usable answer") as caught:
        call()
    assert caught.value.status is None


def test_a_call_is_repeated_once_at_most(google, monkeypatch):
    asked = []

    def failing(request: Any) -> HttpResponse:
        asked.append(request.path)
        return HttpResponse(b"{}", status=503, content_type="application/json")

    monkeypatch.setattr(server, "respond", failing)
    with pytest.raises(GatewayError):
        gateway.get_file(api_key_name="default", name="files/f")
    assert len(asked) == 1
    asked.clear()
    with pytest.raises(GatewayError):
        gateway.get_webhook(api_key_name="default", webhook_id="w")
    assert len(asked) <= 2


@pytest.mark.parametrize("keys", [{"other": "k"}, {"default": ""}, {"default": None}])
def test_a_missing_key_is_named_with_its_setting(google, site, keys):
    site["API_KEYS"] = keys
    with pytest.raises(ConfigurationError, match=r"GEMINI_WEBHOOKS\['API_KEYS'\].*'default'"):
        gateway.list_webhooks(api_key_name="default")
    assert google.requests == []


def test_a_changed_key_is_used_from_the_next_call_on(google, site):
    create()
    site["API_KEYS"] = {"default": "revoked"}
    with pytest.raises(GatewayError) as caught:
        create()
    assert caught.value.status in (400, 401, 403)


@pytest.mark.parametrize("package", ["google.genai", "google.cloud.storage"])
def test_the_app_imports_neither_client_before_it_is_needed(package):
    code = (
        "import os, sys, django; django.setup(); import gemini_webhooks.results;"
        f"sys.exit({package!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
