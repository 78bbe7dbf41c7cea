"""What every signing mode and every database must do alike."""

from __future__ import annotations

import time

import pytest

from gemini_webhooks.models import RejectedRequest, WebhookDelivery, WebhookEndpoint
from tests.conftest import every_database
from tests.senders import Sender, StaticSender, new_id

pytestmark = [every_database]


@pytest.fixture(autouse=True)
def _on_each_database(database: str) -> None:
    """Every test of this module runs once per database."""


def test_new_event_is_stored_and_accepted(sender: Sender) -> None:
    answer = sender.post(webhook_id="msg_1")

    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    delivery = WebhookDelivery.objects.get()
    assert delivery.webhook_id == "msg_1"
    assert delivery.signing == ("hmac" if isinstance(sender, StaticSender) else "jwt")
    assert delivery.event_type == "batch.succeeded"
    assert delivery.resource_id == "batch_123456"
    assert delivery.occurred_at.isoformat() == "2026-01-22T12:00:00+00:00"
    assert delivery.state == "received"
    assert delivery.source == "webhook"
    assert delivery.duplicate_count == 0
    assert delivery.endpoint is None
    assert delivery.payload["data"]["id"] == "batch_123456"


def test_headers_are_kept_without_what_is_secret(sender: Sender) -> None:
    secret = {"authorization": "Bearer x", "cookie": "session=1", "x-other": "1"}
    agent = "Google\x00-" + "\ud800" + "x" * 1000

    assert (
        sender.post(webhook_id="msg_1", headers={"user-agent": agent, **secret}).status_code == 200
    )

    headers = WebhookDelivery.objects.get().headers
    assert set(headers) == {
        "content-length", "content-type", "user-agent", "webhook-id", "webhook-timestamp",
    }  # fmt: skip
    assert headers["webhook-id"] == "msg_1"
    assert headers["user-agent"].startswith("Google")
    assert len(headers["user-agent"]) == 300


def test_retry_is_a_duplicate(sender: Sender) -> None:
    first = sender.post(webhook_id="msg_1")
    again = sender.post(webhook_id="msg_1", timestamp=int(time.time()) + 1)

    assert first.json() == {"status": "accepted"}
    assert (again.status_code, again.json()) == (200, {"status": "duplicate"})
    assert WebhookDelivery.objects.get().duplicate_count == 1


def test_ids_that_differ_in_case_are_two_events(sender: Sender) -> None:
    assert sender.post(webhook_id="msg_a").json() == {"status": "accepted"}
    assert sender.post(webhook_id="msg_A").json() == {"status": "accepted"}
    assert WebhookDelivery.objects.count() == 2


def test_changed_body_is_refused(sender: Sender) -> None:
    if getattr(sender, "binding", None) in ("unbound", "webhook_id"):
        pytest.skip("such a token does not vouch for the body; the seal vouches for the job")
    body = sender.encode(sender.envelope())
    headers = sender.headers(body, "msg_1", int(time.time()))

    answer = sender.client.post(
        sender.path,
        data=body.replace(b"batch_123456", b"batch_666666"),
        content_type="application/json",
        headers=headers,
    )

    assert answer.status_code == 401
    assert not WebhookDelivery.objects.exists()
    assert RejectedRequest.objects.get().reason == answer.json()["error"]


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_missing_header_is_refused(sender: Sender, name: str) -> None:
    answer = sender.post(headers={name: None})

    assert (answer.status_code, answer.json()) == (400, {"error": "missing_header"})
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize("seconds", [-412, 412])
def test_timestamp_outside_of_the_tolerance_is_refused(sender: Sender, seconds: int) -> None:
    answer = sender.post(timestamp=int(time.time()) + seconds)

    assert (answer.status_code, answer.json()) == (400, {"error": "timestamp_out_of_tolerance"})
    assert "41" in RejectedRequest.objects.get().diagnosis


def test_body_that_is_not_json_is_stored_as_unreadable(
    sender: Sender, configured: dict[str, object]
) -> None:
    configured["REQUIRE_SEAL"] = False
    answer = sender.post(b"\x00\xffnot json")

    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.event_type) == ("unreadable", "")
    assert bytes(delivery.body) == b"\x00\xffnot json"
    assert delivery.payload is None


@pytest.mark.parametrize(
    "text",
    ["nul \x00", "lone \ud800 surrogate", "\U0001f600", "x" * 2000],
    ids=["nul", "surrogate", "emoji", "long"],
)
def test_poison_in_the_payload_is_stored(sender: Sender, text: str) -> None:
    payload = sender.envelope(text, note=text)
    payload["data"]["id"] = text

    answer = sender.post(payload)

    assert answer.json() == {"status": "accepted"}
    delivery = WebhookDelivery.objects.get()
    assert delivery.payload["data"]["note"] == text
    assert len(delivery.event_type) <= 255


def test_unknown_type_is_stored(sender: Sender) -> None:
    assert sender.post(sender.envelope("cache.evicted")).json() == {"status": "accepted"}
    assert WebhookDelivery.objects.get().event_type == "cache.evicted"


def test_too_large_body_is_refused_and_not_stored(
    sender: Sender, configured: dict[str, object]
) -> None:
    configured["MAX_BODY_BYTES"] = 1000

    answer = sender.post(sender.envelope(padding="x" * 1000))

    assert (answer.status_code, answer.json()) == (413, {"error": "body_too_large"})
    assert not WebhookDelivery.objects.exists()


def test_only_post_is_allowed(sender: Sender) -> None:
    answer = sender.client.get(sender.path)

    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_unknown_endpoint_is_not_found(sender: Sender) -> None:
    answer = sender.post(path="/webhooks/gemini/nowhere/")

    assert (answer.status_code, answer.json()) == (404, {"error": "unknown_endpoint"})


def test_endpoint_disabled_here_is_not_found(sender: Sender) -> None:
    WebhookEndpoint.objects.create(slug="off", state=WebhookEndpoint.State.DISABLED)

    assert sender.post(path="/webhooks/gemini/off/").status_code == 404


def test_secrets_of_the_root_do_not_open_an_endpoint(sender: Sender) -> None:
    WebhookEndpoint.objects.create(slug="acme")

    assert sender.post(path="/webhooks/gemini/acme/").status_code == 401
    assert not WebhookDelivery.objects.exists()


def test_nothing_is_stored_while_the_signature_is_a_forgery(sender: Sender) -> None:
    body = sender.encode(sender.envelope())
    signature = sender.signature(body, "msg_1", int(time.time()))
    forged = signature[:-6] + ("AAAAA=" if not signature.endswith("AAAAA=") else "BBBBB=")
    if "." in signature:
        forged = signature[:-6] + ("AAAAAA" if not signature.endswith("AAAAAA") else "BBBBBB")

    answer = sender.post(body, webhook_id=new_id(), headers={"webhook-signature": forged})

    assert (answer.status_code, answer.json()) == (401, {"error": "signature_mismatch"})
    assert not WebhookDelivery.objects.exists()
