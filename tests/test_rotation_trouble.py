"""What a rotation does when an answer is lost, and what may be told of the secret meanwhile."""

# ruff: noqa: F811  # fixtures of another module are asked for by their names

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.signals import post_save
from django.views.debug import ExceptionReporter

from gemini_webhooks import gateway, registration
from gemini_webhooks.exceptions import RegistrationError
from gemini_webhooks.models import SigningSecret, WebhookDelivery, WebhookEndpoint
from tests.conftest import every_database
from tests.senders import StaticSender, envelope
from tests.test_registration import endpoint, google  # noqa: F401  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)

LOST = {"path_contains": "otate", "times": 9}


def test_leaked_secret_ends_here_although_googles_answer_was_lost(
    google: Any, endpoint: WebhookEndpoint
) -> None:
    old = endpoint.signing_secrets.get()
    google.emulator.faults.drop_answer(**LOST)

    with pytest.raises(RegistrationError, match=r"may have rotated.*revoked here.*Rotate again"):
        registration.rotate(endpoint, revoke_immediately=True)

    old.refresh_from_db()
    assert old.revoked_at
    google.emulator.faults.clear()
    assert registration.rotate(endpoint, revoke_immediately=True).secret.pk != old.pk


def test_old_secret_goes_on_when_the_answer_to_a_rotation_with_grace_was_lost(
    google: Any, endpoint: WebhookEndpoint
) -> None:
    old = endpoint.signing_secrets.get()
    google.emulator.faults.drop_answer(**LOST)

    with pytest.raises(RegistrationError, match=r"may have rotated.*Rotate again"):
        registration.rotate(endpoint)

    old.refresh_from_db()
    assert (old.revoked_at, old.expires_at) == (None, None)


def test_refusal_leaves_a_leaked_secret_valid_and_says_so(
    google: Any, endpoint: WebhookEndpoint
) -> None:
    google.emulator.faults.fail_next(status=403, **LOST)

    with pytest.raises(RegistrationError, match="Google did not rotate the secret"):
        registration.rotate(endpoint, revoke_immediately=True)

    assert endpoint.signing_secrets.get().revoked_at is None


@every_database
def test_what_both_secrets_signed_counts_for_the_new_one(database: str) -> None:
    at = WebhookEndpoint.objects.create(slug="acme", name="Acme")
    senders = [StaticSender(path="/webhooks/gemini/acme/") for _ in range(2)]
    old, new = (registration.secrets.store(at, sender.secret) for sender in senders)
    body = senders[0].encode(envelope())
    now = int(time.time())
    both = [sender.headers(body, "m1", now)["webhook-signature"] for sender in senders]

    for webhook_id, signatures in (("m1", both), ("m2", None)):
        headers = {"webhook-signature": " ".join(signatures)} if signatures else {}
        timestamp = now if signatures else None
        answer = senders[0].post(body, webhook_id=webhook_id, timestamp=timestamp, headers=headers)
        assert answer.status_code == 200
    call_command("gemini_webhooks", "drain")

    verified_by = dict(WebhookDelivery.objects.values_list("webhook_id", "secret_id"))
    assert verified_by == {"m1": new.pk, "m2": old.pk}


@pytest.fixture
def meddling() -> Iterator[None]:
    """A site's own code that fails whenever a secret is stored."""

    def fail(**_: Any) -> None:
        raise RuntimeError("the audit log is full")

    post_save.connect(fail, sender=SigningSecret)
    yield
    post_save.disconnect(fail, sender=SigningSecret)


@pytest.mark.usefixtures("meddling")
def test_creation_that_a_sites_own_code_breaks_leaves_nothing(google: Any) -> None:
    with pytest.raises(RegistrationError, match=r"could not be stored \(RuntimeError\)"):
        registration.create("acme")

    assert not WebhookEndpoint.objects.exists()
    assert not list(google.emulator.webhooks)


def test_rotation_that_a_sites_own_code_breaks_says_what_to_do(
    endpoint: WebhookEndpoint, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("meddling")

    with pytest.raises(RegistrationError, match=r"could not be stored.*rotate again"):
        registration.rotate(endpoint)


def test_page_of_an_error_does_not_show_a_new_secret(
    endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def fail(endpoint: WebhookEndpoint, secret: str) -> None:
        made.append(secret)
        raise KeyboardInterrupt

    monkeypatch.setattr(registration.secrets, "store", fail)
    try:
        registration.rotate(endpoint)
    except KeyboardInterrupt:
        page = ExceptionReporter(None, *sys.exc_info()).get_traceback_html()

    assert made[0].startswith("whsec_")
    assert made[0] not in page
    assert made[0].removeprefix("whsec_") not in page
    assert "secret" in page
    assert gateway.list_webhooks(api_key_name="default")
