"""What comes in: signed as Google signs, through the site's own view."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jwt
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse, HttpResponseRedirect
from django.test import Client
from standardwebhooks import Webhook

from gemini_webhooks import receivers
from gemini_webhooks.models import RejectedRequest, SigningSecret, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.registration import secrets
from gemini_webhooks.testing import Gemini, make_event, signatures
from tests.senders import new_secret
from tests.testing.conftest import Receiver

pytestmark = pytest.mark.django_db


class Recorder(Client):
    """Keeps what is posted."""

    def post(self, path: str, **sent: Any) -> Any:  # type: ignore[override]  # only what is looked at
        self.path, self.sent = path, sent
        return super().post(path, **sent)


def test_an_event_goes_the_whole_way(gemini_webhooks: Gemini, note: Receiver) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded", metadata={"tenant": "acme"})

    outcome.assert_accepted()
    assert (outcome.status_code, outcome.answer) == (200, {"status": "accepted"})
    delivery = outcome.delivery
    assert (delivery.signing, delivery.state, delivery.source) == ("hmac", "processed", "webhook")
    assert delivery.webhook_id == outcome.webhook_id
    [event] = note.events
    assert (event.user_metadata, event.is_replay) == ({"tenant": "acme"}, False)
    outcome.assert_ran("note")


def test_what_google_says_is_up_to_the_test(gemini_webhooks: Gemini) -> None:
    seen = Receiver()
    receivers.on("batch.failed")(seen)
    moment = datetime(2026, 1, 22, 12, tzinfo=UTC)

    gemini_webhooks.deliver(
        "batch.failed",
        resource_id="batch_1",
        error=("3", "bad input"),
        occurred_at=moment,
        id="msg_1",
        data={"attempt": 2},
    )

    [event] = seen.events
    assert (event.id, event.type, event.resource_id) == ("msg_1", "batch.failed", "batch_1")
    assert (event.error_code, event.error_message) == ("3", "bad input")
    assert event.occurred_at == moment
    assert event.data["attempt"] == 2


def test_a_static_webhook_is_signed_as_the_standard_has_it(gemini_webhooks: Gemini) -> None:
    client = Recorder()

    gemini_webhooks.deliver("batch.succeeded", client=client)

    verifier = Webhook(signatures.ROOT_SECRET)
    assert verifier.verify(client.sent["data"], client.sent["headers"])["type"] == "batch.succeeded"
    assert client.path == "/webhooks/gemini/"


def test_a_dynamic_webhook_s_token_verifies_with_the_key_set(gemini_webhooks: Gemini) -> None:
    client = Recorder()

    outcome = gemini_webhooks.deliver(
        "batch.succeeded", metadata={"tenant": "acme"}, signing="jwt", client=client
    )

    double = signatures.key_set()
    key = jwt.PyJWKSet.from_dict(double.keys).keys[0]
    token = client.sent["headers"]["webhook-signature"]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=signatures.AUDIENCE)
    assert claims["type"] == "batch.succeeded"
    delivery = outcome.delivery
    assert (delivery.signing, delivery.binding, delivery.sealed) == ("jwt", "event", True)
    assert delivery.user_metadata == {"tenant": "acme"}


def test_what_the_site_demands_of_tokens_is_met(gemini_webhooks: Gemini, settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"AUDIENCES": ["https://a.example"], "ISSUERS": ["https://iss"]}

    gemini_webhooks.deliver("batch.succeeded", signing="jwt").assert_accepted()


def test_trusted_needs_no_urls(gemini_webhooks: Gemini, settings: Any, note: Receiver) -> None:
    settings.ROOT_URLCONF = "tests.urls_empty"

    outcome = gemini_webhooks.deliver("batch.succeeded", signing="trusted")

    outcome.assert_ran("note")
    assert (outcome.status_code, outcome.delivery.signing) == (None, "none")


def test_urls_that_are_not_included(gemini_webhooks: Gemini, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.urls_empty"

    with pytest.raises(ImproperlyConfigured, match=r'include\("gemini_webhooks\.urls"\)'):
        gemini_webhooks.deliver("batch.succeeded")
    with pytest.raises(ImproperlyConfigured, match="trusted"):
        gemini_webhooks.deliver("batch.succeeded", endpoint="reports")


@pytest.mark.parametrize("signing", ["hmac", "jwt", "trusted"])
def test_a_duplicate(gemini_webhooks: Gemini, note: Receiver, signing: Any) -> None:
    first = gemini_webhooks.deliver("batch.succeeded", signing=signing)
    again = gemini_webhooks.deliver("batch.succeeded", id=first.webhook_id, signing=signing)

    again.assert_duplicate()
    assert not first.is_duplicate
    assert again.delivery == first.delivery
    assert len(note.events) == 1
    with pytest.raises(AssertionError, match="was not accepted"):
        again.assert_accepted()
    with pytest.raises(AssertionError, match="not a duplicate"):
        first.assert_duplicate()


# --- endpoints


def test_an_endpoint_that_has_no_secret_gets_one(gemini_webhooks: Gemini) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="reports")

    outcome = gemini_webhooks.deliver("batch.succeeded", endpoint="reports")

    assert outcome.delivery.endpoint == endpoint
    assert outcome.delivery.secret == SigningSecret.objects.get()


def test_an_endpoint_s_own_secret_signs(gemini_webhooks: Gemini) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="reports", audiences=["https://a.example"])
    secret = new_secret()
    stored = secrets.store(endpoint, secret)
    client = Recorder()

    outcome = gemini_webhooks.deliver("batch.succeeded", endpoint=endpoint, client=client)

    assert Webhook(secret).verify(client.sent["data"], client.sent["headers"])
    assert outcome.delivery.secret == stored
    gemini_webhooks.deliver("batch.succeeded", endpoint=endpoint, signing="jwt").assert_accepted()
    trusted = gemini_webhooks.deliver("batch.succeeded", endpoint="reports", signing="trusted")
    assert trusted.delivery.endpoint == endpoint


def test_an_endpoint_that_is_not_there(gemini_webhooks: Gemini) -> None:
    with pytest.raises(AssertionError, match=r"404 unknown_endpoint.*no endpoint “nope”"):
        gemini_webhooks.deliver("batch.succeeded", endpoint="nope")
    with pytest.raises(ValueError, match="no endpoint “nope”"):
        gemini_webhooks.deliver("batch.succeeded", endpoint="nope", signing="trusted")

    refused = gemini_webhooks.deliver("batch.succeeded", endpoint="nope", raises=False)
    refused.assert_rejected("unknown_endpoint")


# --- what is refused


@pytest.mark.parametrize(
    ("spoiled", "code"),
    [
        ({"tamper": True}, "signature_mismatch"),
        ({"tamper": True, "signing": "jwt"}, "body_mismatch"),
        ({"seal": False, "signing": "jwt"}, "seal_missing"),
        ({"age": 3600}, "timestamp_out_of_tolerance"),
        ({"age": -3600, "signing": "jwt"}, "timestamp_out_of_tolerance"),
    ],
)
def test_what_is_spoiled_is_refused(
    gemini_webhooks: Gemini, note: Receiver, spoiled: dict[str, Any], code: str
) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded", **spoiled)

    outcome.assert_rejected(code)
    outcome.assert_not_run()
    outcome.assert_not_run(note)
    assert RejectedRequest.objects.get().reason == code
    assert not WebhookDelivery.objects.exists()
    assert note.events == []
    with pytest.raises(AssertionError, match=f"there is no delivery.\n.*{code}"):
        _ = outcome.delivery
    with pytest.raises(AssertionError, match="not refused with 'other'"):
        outcome.assert_rejected("other")
    for wrong in (outcome.assert_accepted, lambda: outcome.assert_ran(note)):
        with pytest.raises(AssertionError, match="not accepted"):
            wrong()


def test_what_is_accepted_is_not_refused(gemini_webhooks: Gemini) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded", age=10)

    with pytest.raises(AssertionError, match="was not refused"):
        outcome.assert_rejected()


def test_a_refusal_that_nobody_asked_for(gemini_webhooks: Gemini, settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"MAX_BODY_BYTES": 10}

    with pytest.raises(AssertionError, match="413 body_too_large"):
        gemini_webhooks.deliver("batch.succeeded")

    settings.GEMINI_WEBHOOKS = {"ENCRYPTION_KEYS": ["nonsense"]}
    endpoint = WebhookEndpoint.objects.create(slug="reports")
    SigningSecret.objects.create(endpoint=endpoint, ciphertext="nonsense")
    with pytest.raises(Exception, match="ENCRYPTION_KEYS"):
        gemini_webhooks.deliver("batch.succeeded", endpoint=endpoint)


def test_a_site_that_cannot_decide(
    gemini_webhooks: Gemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "key_set", cache(signatures.KeySetDouble))
    monkeypatch.setattr(signatures.KeySetDouble, "keys", {})

    with pytest.raises(AssertionError, match="503 key_set_unavailable: the key set cannot"):
        gemini_webhooks.deliver("batch.succeeded", signing="jwt")


def elsewhere(get_response: Any) -> Any:
    return lambda request: HttpResponseRedirect("https://login.example/")


def closed(get_response: Any) -> Any:
    return lambda request: HttpResponse("closed", status=503)


@pytest.mark.parametrize(
    ("name", "told"), [("elsewhere", "leads to https://login.example/"), ("closed", "503 not_json")]
)
def test_a_middleware_that_answers_itself(
    gemini_webhooks: Gemini, settings: Any, name: str, told: str
) -> None:
    settings.MIDDLEWARE = [f"{__name__}.{name}"]

    with pytest.raises(AssertionError, match=f"{told}.* middleware answer before it"):
        gemini_webhooks.deliver("batch.succeeded")


def test_only_https_gets_through(gemini_webhooks: Gemini, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True

    gemini_webhooks.deliver("batch.succeeded").assert_accepted()


def test_metadata_by_its_name_elsewhere(gemini_webhooks: Gemini, note: Receiver) -> None:
    gemini_webhooks.deliver("batch.succeeded", user_metadata={"tenant": "acme"})

    assert [event.user_metadata for event in note.events] == [{"tenant": "acme"}]


def test_arguments_that_make_no_sense(gemini_webhooks: Gemini) -> None:
    with pytest.raises(ValueError, match="not 'static'"):
        gemini_webhooks.deliver("batch.succeeded", signing="static")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="verifies nothing"):
        gemini_webhooks.deliver("batch.succeeded", signing="trusted", tamper=True)
    with pytest.raises(TypeError, match="JSON"):
        gemini_webhooks.deliver("batch.succeeded", metadata={"a": object()}, signing="jwt")
    with pytest.raises(TypeError, match="metadata= and user_metadata= are the same"):
        gemini_webhooks.deliver("batch.succeeded", metadata={}, user_metadata={"tenant": "acme"})
    with pytest.raises(RuntimeError, match="with Gemini"):
        Gemini().deliver("batch.succeeded")
    assert not WebhookDelivery.objects.exists()


# --- events by themselves


def test_an_event_without_a_delivery() -> None:
    event = make_event(
        "batch.completed", metadata={"tenant": "acme"}, output="gs://b/o", data={"n": 1}
    )

    assert (event.type, event.output_uri) == ("batch.succeeded", "gs://b/o")
    assert (event.user_metadata, event.data["n"]) == ({"tenant": "acme"}, 1)
    assert not event.is_stale()
    assert make_event("x", id="msg_1", is_replay=True).is_replay
    assert make_event("x", user_metadata={"tenant": "acme"}).user_metadata == {"tenant": "acme"}
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize("kind", ["hmac", "jwt", "trusted"])
def test_the_body_is_what_google_writes(gemini_webhooks: Gemini, kind: Any) -> None:
    outcome = gemini_webhooks.deliver("video.generated", output="files/v", signing=kind)

    envelope = json.loads(outcome.delivery.body)
    assert envelope["data"]["file_name"] == "files/v"
    assert envelope["version"] == "v1"
