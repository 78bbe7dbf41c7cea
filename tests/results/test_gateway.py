"""The gateway, against the emulator, with the official SDK."""

from __future__ import annotations

import subprocess
import sys
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("google.genai", reason="needs google-genai, extra genai")

from django.http import HttpResponse

from gemini_webhooks import gateway
from gemini_webhooks.emulator import server
from gemini_webhooks.exceptions import ConfigurationError, GatewayError
from gemini_webhooks.verification import secret_hint

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
        secrets=(
            gateway.RemoteSecret(hint=secret_hint(created.new_signing_secret), expires_at=None),
        ),
        create_time=created.create_time,
        update_time=created.update_time,
        new_signing_secret=None,
    )
    assert read.create_time.utcoffset() is not None
    assert read.update_time.utcoffset() is not None


def update(created: gateway.RemoteWebhook, **changes: Any) -> gateway.RemoteWebhook:
    return gateway.update_webhook(api_key_name="default", webhook_id=created.id, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "renamed"},
        {"name": ""},
        {"uri": "https://other.example/"},
        {"subscribed_events": ("batch.failed",)},
        {"state": "disabled"},
        {"name": "both", "state": "disabled"},
    ],
)
def test_an_update_changes_what_is_given_and_nothing_else(google, changes):
    created = create()

    changed = update(created, **changes)

    expected = replace(created, **changes, update_time=changed.update_time, new_signing_secret=None)
    assert changed == expected
    assert changed.update_time > created.update_time
    assert gateway.get_webhook(api_key_name="default", webhook_id=created.id) == expected


def test_an_update_that_google_refuses_is_told_in_its_words(google):
    created = create()
    with pytest.raises(GatewayError, match="uri must be an absolute") as caught:
        update(created, uri="nowhere")
    assert (caught.value.status, caught.value.permanent) == (400, True)


def rotate(created: gateway.RemoteWebhook, *, revoke_immediately: bool) -> str:
    return gateway.rotate_secret(
        api_key_name="default", webhook_id=created.id, revoke_immediately=revoke_immediately
    )


def test_after_a_rotation_with_grace_both_secrets_are_shown(google):
    created = create()

    secret = rotate(created, revoke_immediately=False)

    new, old = gateway.get_webhook(api_key_name="default", webhook_id=created.id).secrets
    assert new == gateway.RemoteSecret(hint=secret_hint(secret), expires_at=None)
    assert old.hint == secret_hint(created.new_signing_secret)
    left = old.expires_at - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)


def test_after_a_rotation_at_once_only_the_new_secret_is_shown(google):
    created = create()

    secret = rotate(created, revoke_immediately=True)

    read = gateway.get_webhook(api_key_name="default", webhook_id=created.id)
    assert read.secrets == (gateway.RemoteSecret(hint=secret_hint(secret), expires_at=None),)
    assert secret != created.new_signing_secret
    assert secret not in repr(read)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"secret": ""}', b'{"secret": ["whsec_leaked"]}', b'{"secret": "whsec_leaked']
)
def test_a_rotation_without_a_usable_answer_is_an_error_that_tells_nothing_of_it(
    google, monkeypatch, caplog, body
):
    created = create()
    answering(monkeypatch, HttpResponse(body, content_type="application/json"))
    with caplog.at_level("DEBUG"), pytest.raises(GatewayError) as caught:
        rotate(created, revoke_immediately=True)
    told = "".join(traceback.format_exception(caught.value))
    assert "whsec_leaked" not in told + caplog.text


def test_times_and_hints_that_make_no_sense_do_not_spoil_a_webhook(google, monkeypatch):
    secret = '{"truncated_secret": 5, "expire_time": "soon"}'
    body = f'{{"id": "w", "update_time": "late", "signing_secrets": [{secret}]}}'
    answering(monkeypatch, HttpResponse(body, content_type="application/json"))

    read = gateway.get_webhook(api_key_name="default", webhook_id="w")

    assert read.id == "w"
    assert read.update_time is None
    assert read.secrets == (gateway.RemoteSecret(hint="5", expires_at=None),)


def test_a_rotation_logs_nothing_of_the_secret(google, caplog):
    created = create()
    with caplog.at_level("DEBUG"):
        secret = rotate(created, revoke_immediately=False)
    assert secret not in caplog.text


@pytest.mark.parametrize(
    ("status", "permanent"), [(409, True), (429, False), (500, False), (503, False)]
)
def test_what_google_refuses_for_now_is_not_permanent(google, status, permanent):
    created = create()
    google.emulator.faults.fail_next(
        path_contains=created.id, status=status, times=2, retry_after=0
    )
    with pytest.raises(GatewayError) as caught:
        rotate(created, revoke_immediately=True)
    assert (caught.value.status, caught.value.permanent) == (status, permanent)


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
