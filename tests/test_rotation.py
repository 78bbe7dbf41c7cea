"""Rotation goes by Google's clock, within limits, and never makes a secret that gets lost."""

# ruff: noqa: F811  # fixtures of another module are asked for by their names

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from gemini_webhooks import gateway, registration
from gemini_webhooks.exceptions import ConfigurationError, GatewayError
from gemini_webhooks.gateway import RemoteSecret
from gemini_webhooks.models import SigningSecret, WebhookEndpoint
from tests.senders import StaticSender
from tests.test_registration import endpoint, google, remote, run  # noqa: F401  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(hours=24)


def test_the_old_secret_ends_when_google_says(google: Any, endpoint: WebhookEndpoint) -> None:
    old = endpoint.signing_secrets.get()
    google.emulator.options = replace(google.emulator.options, grace_seconds=3600)

    rotation = registration.rotate(endpoint)

    [said] = [one.expires_at for one in remote(endpoint).secrets if one.expires_at]
    old.refresh_from_db()
    assert rotation.old_valid_until == old.expires_at == said
    assert old.expires_at - timezone.now() < timedelta(hours=1)


def said_by_google(monkeypatch: pytest.MonkeyPatch, *secrets: tuple[str, datetime | None]) -> None:
    real = gateway.get_webhook
    listed = tuple(RemoteSecret(hint=hint, expires_at=end) for hint, end in secrets)
    monkeypatch.setattr(
        gateway, "get_webhook", lambda **names: replace(real(**names), secrets=listed)
    )


def test_the_end_of_a_secret_that_ends_already_stays(
    endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_one = endpoint.signing_secrets.get()
    soon = timezone.now() + timedelta(minutes=10)
    ending = endpoint.signing_secrets.create(hint="whsec_…soon", expires_at=soon)
    later = timezone.now() + timedelta(hours=20)
    said_by_google(monkeypatch, (open_one.hint, later), (ending.hint, later))

    assert registration.rotate(endpoint).old_valid_until == later
    SigningSecret.objects.exclude(pk=ending.pk).update(revoked_at=timezone.now())
    assert registration.rotate(endpoint).old_valid_until == soon

    ending.refresh_from_db()
    open_one.refresh_from_db()
    assert (ending.expires_at, open_one.expires_at) == (soon, later)


@pytest.mark.parametrize(
    ("after", "least", "most"),
    [
        (timedelta(days=30), DAY, DAY + timedelta(minutes=5)),
        (DAY + timedelta(minutes=1), DAY, DAY + timedelta(minutes=1)),
        (None, DAY - timedelta(minutes=1), DAY),
        (-timedelta(days=1), -timedelta(days=1, minutes=1), timedelta(0)),
    ],
    ids=["much later", "a little later", "open", "in the past"],
)
@pytest.mark.parametrize("use_tz", [True, False])
def test_no_old_secret_holds_much_longer_than_a_day(
    google: Any,
    endpoint: WebhookEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    after: timedelta | None,
    least: timedelta,
    most: timedelta,
    use_tz: bool,
) -> None:
    old = endpoint.signing_secrets.get()
    end = timezone.now() + after if after is not None else None
    said_by_google(monkeypatch, (old.hint, end), ("whsec_…else", timezone.now()))
    settings.USE_TZ = use_tz

    rotation = registration.rotate(endpoint)

    old.refresh_from_db()
    assert least < old.expires_at - timezone.now() <= most
    assert rotation.old_valid_until == (old.expires_at if least > -DAY else None)
    assert rotation.secret.expires_at is None


@pytest.mark.parametrize("error", [GatewayError("no"), ConfigurationError(), DatabaseError()])
def test_rotation_holds_though_google_does_not_say_the_end(
    google: Any,
    endpoint: WebhookEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    old = endpoint.signing_secrets.get()

    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(gateway, "get_webhook", fail)

    rotation = registration.rotate(endpoint)

    old.refresh_from_db()
    assert rotation.old_valid_until == old.expires_at
    assert DAY - timedelta(minutes=1) < old.expires_at - timezone.now() <= DAY
    new = registration.reveal(rotation.secret, actor="me")
    sender = StaticSender(path="/webhooks/gemini/acme/", secret=new)
    assert sender.post().status_code == 200


def test_first_secret_of_an_adopted_endpoint_replaces_none(
    google: Any,
    endpoint: WebhookEndpoint,
) -> None:
    SigningSecret.objects.all().delete()

    assert registration.rotate(endpoint).old_valid_until is None
    SigningSecret.objects.all().delete()
    assert run("rotate", "acme")["old_valid_until"] == "none is valid any more"


@pytest.mark.parametrize("at_once", [False, True])
def test_google_makes_no_secret_that_could_not_be_encrypted(
    google: Any,
    endpoint: WebhookEndpoint,
    settings: Any,
    at_once: bool,
) -> None:
    before = remote(endpoint).secrets
    settings.GEMINI_WEBHOOKS["ENCRYPTION_KEYS"] = ["no key"]

    with pytest.raises(ConfigurationError, match="not a Fernet key"):
        registration.rotate(endpoint, revoke_immediately=at_once)

    assert remote(endpoint).secrets == before
    assert SigningSecret.objects.get().revoked_at is None
