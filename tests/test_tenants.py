"""Tenants side by side: what is valid for one is refused at the other's address."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpResponse

from gemini_webhooks import ciphers
from gemini_webhooks.models import RejectedRequest, WebhookDelivery, WebhookEndpoint
from tests.conftest import every_database
from tests.senders import DynamicSender, Google, Sender, StaticSender, new_secret

#: That the lookups keep tenants apart is shown on each database; what follows from it, on one.
sqlite = pytest.mark.django_db(transaction=True)

ROOT, A, B = "", "tenant-a", "tenant-b"
BINDINGS = ("event", "body", "webhook_id", "unbound")
MODES = ["hmac", *(f"jwt-{binding}" for binding in BINDINGS)]
WRONG_WAYS = [(of, at) for of in (ROOT, A, B) for at in (ROOT, A, B) if of != at]


def path(slug: str) -> str:
    return f"/webhooks/gemini/{slug}/" if slug else "/webhooks/gemini/"


def audience(slug: str) -> str:
    return f"https://site.example{path(slug)}"


@pytest.fixture
def secrets(request: pytest.FixtureRequest, configured: dict[str, Any]) -> dict[str, str]:
    """A site with two tenants; each address has its own secret and its own audience."""
    if "database" in request.fixturenames:
        request.getfixturevalue("database")  # before the first row is written
    found = {slug: new_secret() for slug in (ROOT, A, B)}
    configured.update(SIGNING_SECRETS=[found[ROOT]], AUDIENCES=[audience(ROOT)])
    for slug in (A, B):
        endpoint = WebhookEndpoint.objects.create(slug=slug, audiences=[audience(slug)])
        endpoint.signing_secrets.create(ciphertext=ciphers.encrypt(found[slug]), hint=slug)
    return found


@pytest.fixture
def sender_of(secrets: dict[str, str], google: Google) -> Any:
    def sender(of: str, mode: str, **values: Any) -> Sender:
        if mode == "hmac":
            return StaticSender(secret=secrets[of])
        defaults = {"audience": audience(of), "sealed_for": of}
        binding = mode.removeprefix("jwt-")
        return DynamicSender(google=google, binding=binding, **{**defaults, **values})

    return sender


def is_refused(answer: HttpResponse, code: str) -> bool:
    refused = RejectedRequest.objects.get()
    return (
        (answer.status_code, answer.json()) == (401, {"error": code})
        and refused.reason == code
        and not WebhookDelivery.objects.exists()
    )


@every_database
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("of", [ROOT, A, B])
def test_each_address_takes_its_own(database: str, sender_of: Any, of: str, mode: str) -> None:
    answer = sender_of(of, mode).post(path=path(of))

    assert answer.json() == {"status": "accepted"}
    endpoint = WebhookDelivery.objects.get().endpoint
    assert (endpoint.slug if endpoint else ROOT) == of


@every_database
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("of", "at"), WRONG_WAYS)
def test_no_address_takes_what_is_another_s(
    database: str, sender_of: Any, of: str, at: str, mode: str
) -> None:
    answer = sender_of(of, mode).post(path=path(at))

    assert is_refused(answer, "signature_mismatch" if mode == "hmac" else "wrong_audience")


@sqlite
@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize(("of", "at"), WRONG_WAYS)
def test_seal_of_another_is_refused_under_the_right_audience(
    sender_of: Any, of: str, at: str, binding: str
) -> None:
    sender = sender_of(of, f"jwt-{binding}", audience=audience(at))

    assert is_refused(sender.post(path=path(at)), "seal_wrong_endpoint")


@sqlite
@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize(("of", "at"), WRONG_WAYS)
def test_audience_of_another_is_refused_under_the_right_seal(
    sender_of: Any, of: str, at: str, binding: str
) -> None:
    sender = sender_of(of, f"jwt-{binding}", sealed_for=at)

    assert is_refused(sender.post(path=path(at)), "wrong_audience")


@sqlite
@pytest.mark.parametrize(("of", "at"), WRONG_WAYS)
def test_shared_audience_leaves_the_seal_to_tell_them_apart(
    sender_of: Any, configured: dict[str, Any], of: str, at: str
) -> None:
    configured["AUDIENCES"] = ["shared"]
    WebhookEndpoint.objects.update(audiences=["shared"])
    sender = sender_of(of, "jwt-event", audience="shared")

    assert is_refused(sender.post(path=path(at)), "seal_wrong_endpoint")
    assert sender.post(path=path(of)).status_code == 200


@sqlite
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("of", "at"), WRONG_WAYS)
def test_delivery_stored_for_one_is_not_repeated_to_the_other(
    sender_of: Any, of: str, at: str, mode: str
) -> None:
    sender = sender_of(of, mode)
    assert sender.post(path=path(of), webhook_id="msg_1").status_code == 200

    assert sender.post(path=path(at), webhook_id="msg_1").status_code == 401
    assert WebhookDelivery.objects.get().duplicate_count == 0
