"""The view among the settings, middlewares and servers of real sites."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.db import OperationalError, connections
from django.test import AsyncClient, Client, override_settings
from django.urls import reverse

from gemini_webhooks import ciphers, deliveries
from gemini_webhooks.deliveries import recording
from gemini_webhooks.models import RejectedRequest, WebhookEndpoint
from gemini_webhooks.signals import request_rejected
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender, envelope, new_id

sqlite = pytest.mark.django_db(transaction=True)


def test_url_names() -> None:
    assert reverse("gemini_webhooks:receive") == "/webhooks/gemini/"
    by_slug = reverse("gemini_webhooks:receive-endpoint", kwargs={"slug": "acme"})
    assert by_slug == "/webhooks/gemini/acme/"


@sqlite
@pytest.mark.parametrize("path", ["/webhooks/gemini/acme/", "/webhooks/gemini/acme"])
@pytest.mark.parametrize("append_slash", [True, False])
def test_slash_at_the_end_does_not_matter(
    static: StaticSender, settings: Any, path: str, append_slash: bool
) -> None:
    settings.APPEND_SLASH = append_slash
    WebhookEndpoint.objects.create(slug="acme", audiences=[])

    assert static.post(path=path).status_code == 401  # reached the view: no redirect, no 404


@sqlite
def test_root_without_slash_is_never_a_redirect(static: StaticSender, settings: Any) -> None:
    settings.DEBUG = True  # where Django raises for a POST that it would redirect

    assert static.post(path="/webhooks/gemini").status_code == 404


@sqlite
@override_settings(ROOT_URLCONF="tests.urls_without_slash")
def test_root_without_slash_with_a_path_of_its_own(static: StaticSender) -> None:
    assert static.post(path="/webhooks/gemini").json() == {"status": "accepted"}
    assert static.post(path="/webhooks/gemini/").json() == {"status": "accepted"}


@sqlite
def test_csrf_and_login_do_not_stand_in_the_way(static: StaticSender) -> None:
    static.client = Client(enforce_csrf_checks=True)  # the site has LoginRequiredMiddleware

    assert static.post().json() == {"status": "accepted"}


@every_database
def test_committed_before_the_answer_under_atomic_requests(
    database: str, static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections[database].settings_dict, "ATOMIC_REQUESTS", True)
    in_transaction: list[bool] = []
    record = deliveries.record

    def watched(*args: Any, **kwargs: Any) -> Any:
        in_transaction.append(connections[database].in_atomic_block)
        return record(*args, **kwargs)

    monkeypatch.setattr(deliveries, "record", watched)

    assert static.post().json() == {"status": "accepted"}
    assert in_transaction == [False]


@sqlite
def test_database_down_means_try_again(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise OperationalError("server closed the connection: row was (secret payload)")

    monkeypatch.setattr(recording, "insert", down)

    answer = static.post()

    assert (answer.status_code, answer.json()) == (503, {"error": "database_unavailable"})
    assert int(answer["Retry-After"]) > 0
    assert "secret payload" not in caplog.text


@sqlite
def test_key_set_out_of_reach_means_try_again(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["JWKS_URL"] = "http://127.0.0.1:9/jwks.json"

    answer = dynamic.post()

    assert (answer.status_code, answer.json()) == (503, {"error": "key_set_unavailable"})
    assert int(answer["Retry-After"]) > 0


@sqlite
def test_key_set_address_that_makes_no_sense_means_try_again(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["JWKS_URL"] = "file:///etc/passwd"

    answer = dynamic.post()

    assert (answer.status_code, answer.json()) == (503, {"error": "misconfigured"})


@sqlite
def test_endpoint_with_a_secret_that_cannot_be_opened_means_try_again(
    static: StaticSender,
) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="acme")
    endpoint.signing_secrets.create(ciphertext="gAAAAAbroken", hint="whsec_…dead")

    answer = static.post(path="/webhooks/gemini/acme/")

    assert (answer.status_code, answer.json()) == (503, {"error": "secret_unreadable"})


@sqlite
@pytest.mark.parametrize("declared", ["999999999999", "9" * 5000])
def test_size_is_refused_before_the_body_is_read(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch, declared: str
) -> None:
    def read(*_: Any) -> bytes:
        raise AssertionError("the body was read")

    monkeypatch.setattr(WSGIRequest, "read", read)
    answer = static.client.post(
        "/webhooks/gemini/", data=b"x", content_type="application/json", CONTENT_LENGTH=declared
    )

    assert (answer.status_code, answer.json()) == (413, {"error": "body_too_large"})
    assert RejectedRequest.objects.get().reason == "body_too_large"


@sqlite
def test_body_at_the_limit_is_accepted(static: StaticSender, configured: dict[str, Any]) -> None:
    body = json.dumps(envelope()).encode()
    configured["MAX_BODY_BYTES"] = len(body)

    assert static.post(body).json() == {"status": "accepted"}
    assert static.post(body + b" ").status_code == 413


@sqlite
def test_body_larger_than_djangos_own_limit_is_no_server_error(
    static: StaticSender, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10

    assert static.post().json() == {"status": "accepted"}


@sqlite
def test_asgi(static: StaticSender) -> None:
    body = json.dumps(envelope()).encode()
    headers = static.headers(body, new_id(), int(time.time()))

    async def post() -> Any:
        return await AsyncClient().post(
            "/webhooks/gemini/", data=body, content_type="application/json", headers=headers
        )

    assert asyncio.run(post()).json() == {"status": "accepted"}


@sqlite
def test_what_a_rejection_keeps_is_not_secret(
    dynamic: DynamicSender, caplog: pytest.LogCaptureFixture
) -> None:
    token = dynamic.token({"aud": "https://somebody.else/"})

    answer = dynamic.post(
        headers={"webhook-signature": token, "authorization": "Bearer x", "cookie": "session=1"}
    )

    assert (answer.status_code, answer.json()) == (401, {"error": "wrong_audience"})
    row = RejectedRequest.objects.get()
    assert "https://somebody.else/" in row.diagnosis
    kept = json.dumps([row.headers, row.diagnosis]) + caplog.text
    assert token not in kept
    assert token.rpartition(".")[2] not in kept
    assert set(row.headers) <= {
        "content-length",
        "content-type",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
    }


@sqlite
def test_mixed_up_secret_is_diagnosed(static: StaticSender) -> None:
    other = StaticSender(path="/webhooks/gemini/")
    endpoint = WebhookEndpoint.objects.create(slug="billing")
    endpoint.signing_secrets.create(ciphertext=ciphers.encrypt(other.secret), hint="whsec_…")

    assert other.post().status_code == 401
    assert "billing" in RejectedRequest.objects.get().diagnosis


@sqlite
def test_flood_of_forgeries_does_not_fill_the_table(static: StaticSender) -> None:
    for _ in range(200):
        assert static.post(headers={"webhook-signature": "v1,AAAA"}).status_code == 401

    assert RejectedRequest.objects.count() == 60
    static.post(headers={"webhook-timestamp": "soon"})
    newest = RejectedRequest.objects.latest("pk")
    assert (newest.reason, newest.suppressed) == ("malformed_header", 140)


@sqlite
def test_rejected_signal(static: StaticSender) -> None:
    heard: list[dict[str, Any]] = []
    request_rejected.connect(lambda **kw: heard.append(kw), weak=False, dispatch_uid="t")
    static.post(headers={"webhook-signature": "v1,AAAA"})
    request_rejected.disconnect(dispatch_uid="t")

    [call] = heard
    assert call["code"] == "signature_mismatch"
    assert call["rejection"] == RejectedRequest.objects.get()
