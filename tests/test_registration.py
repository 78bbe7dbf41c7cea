"""Endpoints and secrets, changed here and at the emulator, through the official client."""

from __future__ import annotations

import gc
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from gemini_webhooks import ciphers, deliveries, gateway, registration
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.exceptions import GatewayError, KeyRefused, RegistrationError
from gemini_webhooks.models import SigningSecret, WebhookDelivery, WebhookEndpoint
from tests.conftest import every_database
from tests.senders import StaticSender, new_secret

pytest.importorskip("google.genai", reason="needs the extra [genai]")

KEY = "test-key"


@pytest.fixture
def google(
    settings: Any, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmulatorServer]:
    with EmulatorServer(job_seconds=0, api_key=KEY, retry_base=0.01, output="inline") as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": live_server.url,
            "API_KEYS": {"default": KEY, "other": KEY},
            "FETCH_RESULTS": False,
        }
        yield running
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture
def endpoint(google: EmulatorServer) -> WebhookEndpoint:
    return registration.create("acme", subscribed_events=["batch.succeeded"])


def remote(endpoint: WebhookEndpoint) -> gateway.RemoteWebhook:
    return gateway.get_webhook(api_key_name="default", webhook_id=endpoint.remote_id)


def refuse(google: EmulatorServer, status: int = 503) -> None:
    google.emulator.faults.fail_next(path_contains="webhooks", status=status, times=5)


def pinged(google: EmulatorServer, endpoint: WebhookEndpoint) -> int | None:
    """Ping, and say what the site answered in the end."""
    registration.ping(endpoint)
    assert google.emulator.outbox.wait_idle(20)
    return google.emulator.outbox.tries[-1].status


def run(*words: str) -> Any:
    out = io.StringIO()
    call_command("gemini_webhooks", *words, "--json", stdout=out)
    return json.loads(out.getvalue())


class TestOnEachDatabase:
    pytestmark = [every_database]

    @pytest.fixture(autouse=True)
    def _on(self, database: str) -> None:
        """Every test of this class runs once per database."""

    def test_from_nothing_to_a_verified_ping(self, google: EmulatorServer) -> None:
        endpoint = registration.create("acme")

        assert pinged(google, endpoint) == 200
        assert WebhookDelivery.objects.get().endpoint == endpoint

    def test_grace_both_secrets_hold_and_the_old_one_ends(
        self, google: EmulatorServer, endpoint: WebhookEndpoint
    ) -> None:
        old = endpoint.signing_secrets.get()

        rotation = registration.rotate(endpoint)

        old.refresh_from_db()
        assert rotation.old_valid_until == old.expires_at
        day = timedelta(hours=24)
        assert day - timedelta(minutes=1) < old.expires_at - timezone.now() <= day
        assert rotation.secret.expires_at is None
        sender = StaticSender(path="/webhooks/gemini/acme/", secret=ciphers.decrypt(old.ciphertext))
        assert sender.post().status_code == 200
        assert pinged(google, endpoint) == 200
        old.expires_at = timezone.now()
        old.save()
        assert sender.post().status_code == 401
        assert pinged(google, endpoint) == 200

    def test_incident_the_old_secret_ends_at_once_and_what_it_verified_is_listed(
        self, google: EmulatorServer, endpoint: WebhookEndpoint
    ) -> None:
        old = endpoint.signing_secrets.get()
        sender = StaticSender(path="/webhooks/gemini/acme/", secret=ciphers.decrypt(old.ciphertext))
        sender.post(webhook_id="early")
        WebhookDelivery.objects.update(received_at=timezone.now() - timedelta(days=2))
        sender.post(webhook_id="late")

        report = run(
            "rotate",
            "acme",
            "--now",
            "--since",
            (timezone.now() - timedelta(days=1)).isoformat(),
        )

        assert report["verified_by_old_secrets"] == ["late"]
        assert sender.post().status_code == 401
        assert pinged(google, endpoint) == 200
        old.refresh_from_db()
        assert old.revoked_at is not None


pytestmark = pytest.mark.django_db(transaction=True)


def test_update_changes_both_sides(google: EmulatorServer, endpoint: WebhookEndpoint) -> None:
    registration.update(endpoint, name="Acme", subscribed_events=["batch.failed"])

    there = remote(endpoint)
    endpoint.refresh_from_db()
    assert (endpoint.name, endpoint.subscribed_events) == ("Acme", ["batch.failed"])
    assert (there.name, there.subscribed_events, there.uri) == (
        "Acme",
        ("batch.failed",),
        endpoint.uri,
    )


def test_a_relay_is_registered_by_its_own_address(google: EmulatorServer, settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {**settings.GEMINI_WEBHOOKS, "PUBLIC_BASE_URL": None}
    relay = "https://relay.example/source"

    assert run("create", "bolt", "--uri", relay)["uri"] == relay

    endpoint = WebhookEndpoint.objects.get(slug="bolt")
    assert remote(endpoint).uri == endpoint.uri == relay
    with pytest.raises(CommandError, match="valid URL"):
        run("create", "other", "--uri", "relay")
    assert len(list(google.emulator.webhooks)) == 1


def test_value_that_is_not_valid_never_reaches_google(
    google: EmulatorServer, endpoint: WebhookEndpoint
) -> None:
    with pytest.raises(RegistrationError, match="valid URL"):
        registration.update(endpoint, uri="not a URL")

    assert remote(endpoint).uri == endpoint.uri


def test_disable_and_enable(google: EmulatorServer, endpoint: WebhookEndpoint) -> None:
    sender = StaticSender(
        path="/webhooks/gemini/acme/",
        secret=ciphers.decrypt(endpoint.signing_secrets.get().ciphertext),
    )

    registration.disable(endpoint)
    assert (remote(endpoint).state, sender.post().status_code) == ("disabled", 404)
    registration.enable(endpoint)
    assert (remote(endpoint).state, sender.post().status_code) == ("enabled", 200)


def test_delete(google: EmulatorServer, endpoint: WebhookEndpoint) -> None:
    assert pinged(google, endpoint) == 200

    registration.delete(endpoint)

    assert gateway.list_webhooks(api_key_name="default") == []
    assert not WebhookEndpoint.objects.exists()
    assert not SigningSecret.objects.exists()
    assert WebhookDelivery.objects.count() == 1


def test_delete_of_one_that_google_lost(google: EmulatorServer, endpoint: WebhookEndpoint) -> None:
    gateway.delete_webhook(api_key_name="default", webhook_id=endpoint.remote_id)

    registration.delete(endpoint)

    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize(
    ("action", "status"),
    [
        (action, status)
        for action in ("update", "disable", "enable", "delete", "ping", "rotate")
        for status in (403, 429, 503)
        if (action, status) != ("disable", 403)  # see below
    ],
)
def test_refused_by_google_changes_nothing_here(
    google: EmulatorServer, endpoint: WebhookEndpoint, action: str, status: int
) -> None:
    before = WebhookEndpoint.objects.values().get()
    secrets = list(SigningSecret.objects.values())
    refuse(google, status)

    with pytest.raises(RegistrationError, match=r"Google (did not|gave no)"):
        getattr(registration, action)(endpoint, **({"name": "x"} if action == "update" else {}))

    assert WebhookEndpoint.objects.values().get() == before
    assert list(SigningSecret.objects.values()) == secrets


def lose_key(settings: Any, key: str) -> None:
    settings.GEMINI_WEBHOOKS["API_KEYS"]["default"] = key


@pytest.mark.parametrize("key", ["", "wrong"])
def test_key_that_is_gone_does_not_keep_an_endpoint_open(
    google: EmulatorServer, endpoint: WebhookEndpoint, settings: Any, key: str
) -> None:
    sender = StaticSender(
        path="/webhooks/gemini/acme/",
        secret=ciphers.decrypt(endpoint.signing_secrets.get().ciphertext),
    )
    lose_key(settings, key)

    with pytest.raises(CommandError, match=r"^Disabled here: .* Google could not be told \("):
        run("update", "acme", "--disable")

    assert sender.post().status_code == 404
    lose_key(settings, KEY)
    assert remote(endpoint).state == "enabled"
    run("update", "acme", "--disable")
    assert remote(endpoint).state == "disabled"


@pytest.mark.parametrize("key", ["", "wrong"])
def test_key_that_is_gone_does_not_keep_an_endpoint_for_ever(
    google: EmulatorServer, endpoint: WebhookEndpoint, settings: Any, key: str
) -> None:
    lose_key(settings, key)
    with pytest.raises(CommandError, match="delete acme --only-here"):
        run("delete", "acme", "--yes")
    with pytest.raises(KeyRefused, match="remove it here only"):
        registration.delete(endpoint)
    assert WebhookEndpoint.objects.exists()

    assert run("delete", "acme", "--yes", "--only-here") == {"deleted": "acme"}

    assert not WebhookEndpoint.objects.exists()
    assert len(list(google.emulator.webhooks)) == 1


@pytest.mark.parametrize(
    ("status", "words", "gone"),
    [
        (400, "API key expired. Please renew the API key.", True),
        (401, "", True),
        (403, "", True),
        (400, "Request contains an invalid argument.", False),
        (None, "no answer", False),
    ],
)
def test_only_a_refused_key_counts_as_gone(
    endpoint: WebhookEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
    words: str,
    gone: bool,
) -> None:
    def refuse(**_: Any) -> None:
        raise GatewayError(words, status=status)

    monkeypatch.setattr(gateway, "update_webhook", refuse)
    monkeypatch.setattr(gateway, "delete_webhook", refuse)

    for action in (registration.delete, registration.disable):
        with pytest.raises(RegistrationError) as caught:
            action(endpoint)
        assert isinstance(caught.value, KeyRefused) is gone
    endpoint.refresh_from_db()
    assert endpoint.state == ("disabled" if gone else "enabled")


@pytest.mark.parametrize("text", ["a\x00b", "half \udc80"])
def test_text_that_no_database_takes_is_refused_in_words(
    google: EmulatorServer, endpoint: WebhookEndpoint, text: str
) -> None:
    for changes in ({"name": text}, {"audiences": [text]}):
        with pytest.raises(RegistrationError, match="not valid text"):
            registration.update(endpoint, **changes)

    assert remote(endpoint).name == "acme"


@pytest.mark.parametrize("at_once", [False, True])
def test_new_secret_that_cannot_be_stored_says_what_to_do(
    google: EmulatorServer,
    endpoint: WebhookEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    at_once: bool,
) -> None:
    old = endpoint.signing_secrets.get()

    def down(*_: Any, **__: Any) -> None:
        raise OperationalError("down")

    with monkeypatch.context() as broken:
        broken.setattr(SigningSecret, "save", down)
        with pytest.raises(RegistrationError, match="rotate again"):
            registration.rotate(endpoint, revoke_immediately=at_once)

    old.refresh_from_db()
    assert (old.revoked_at is not None) is at_once  # it may have leaked: never left in force
    registration.rotate(endpoint, revoke_immediately=True)
    assert pinged(google, endpoint) == 200


def test_unregistered_endpoint_says_so(google: EmulatorServer) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="local")
    for action in (registration.rotate, registration.ping, registration.disable):
        with pytest.raises(RegistrationError, match=r"not registered at Google\. Delete it and"):
            action(endpoint)


class TestSync:
    def test_without_any_difference(
        self, google: EmulatorServer, endpoint: WebhookEndpoint
    ) -> None:
        report = run("sync")

        assert report == {
            "compared": 1,
            "adopted": [],
            "missing": [],
            "unregistered": [],
            "switched_off": [],
            "drift": [],
        }
        endpoint.refresh_from_db()
        assert endpoint.last_synced_at is not None

    def test_adopts_what_only_google_has(
        self, google: EmulatorServer, endpoint: WebhookEndpoint
    ) -> None:
        made = gateway.create_webhook(
            api_key_name="default",
            name="by hand",
            uri=f"{endpoint.uri.rstrip('/')}/",
            subscribed_events=["video.generated"],
        )

        report = registration.sync()

        [slug] = report.adopted
        adopted = WebhookEndpoint.objects.get(slug=slug)
        assert (adopted.remote_id, adopted.name) == (made.id, "by hand")
        assert slug == "acme-2"
        assert adopted.subscribed_events == ["video.generated"]
        assert registration.sync().adopted == []

    def test_notices_drift_and_leaves_it(
        self, google: EmulatorServer, endpoint: WebhookEndpoint
    ) -> None:
        gateway.update_webhook(
            api_key_name="default", webhook_id=endpoint.remote_id, name="renamed there"
        )
        registration.disable(endpoint)
        gateway.update_webhook(
            api_key_name="default", webhook_id=endpoint.remote_id, state="enabled"
        )

        drift = {(found.field, found.here, found.there) for found in registration.sync().drift}

        assert drift == {("name", "acme", "renamed there"), ("state", "disabled", "enabled")}
        endpoint.refresh_from_db()
        assert endpoint.state == "disabled"  # ours to decide
        with pytest.raises(SystemExit):
            run("sync")

    def test_says_what_google_does_not_have_any_more(
        self, google: EmulatorServer, endpoint: WebhookEndpoint
    ) -> None:
        gateway.delete_webhook(api_key_name="default", webhook_id=endpoint.remote_id)

        assert registration.sync().missing == ["acme"]
        assert WebhookEndpoint.objects.exists()

    def test_follows_what_google_switched_off(
        self, google: EmulatorServer, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state = "disabled_due_to_failed_deliveries"
        listing = gateway.list_webhooks(api_key_name="default")
        monkeypatch.setattr(
            gateway, "list_webhooks", lambda **_: [replace(listing[0], state=state)]
        )

        assert registration.sync().switched_off == ["acme"]
        endpoint.refresh_from_db()
        assert endpoint.state == state

    def test_other_projects_are_left_alone(
        self, google: EmulatorServer, endpoint: WebhookEndpoint
    ) -> None:
        WebhookEndpoint.objects.update(api_key_name="other")

        report = registration.sync("default")

        assert (report.compared, report.missing) == (0, [])
        with pytest.raises(RegistrationError, match="no API key"):
            registration.sync("nobody")


def test_reencryption(settings: Any) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="acme")
    first, second, lost = (Fernet.generate_key().decode() for _ in range(3))
    secret = new_secret()
    for key in (first, lost):
        settings.GEMINI_WEBHOOKS = {"ENCRYPTION_KEYS": [key]}
        endpoint.signing_secrets.create(ciphertext=ciphers.encrypt(secret), hint=f"of {key[:3]}")
    settings.GEMINI_WEBHOOKS = {"ENCRYPTION_KEYS": [second, first]}

    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("gemini_webhooks", "reencrypt", "--json", stdout=out, stderr=err)

    assert caught.value.code == 1
    report = json.loads(out.getvalue())
    assert report == {"current": 0, "reencrypted": 1, "unreadable": [f"acme of {lost[:3]}"]}
    assert "Restore the key in ENCRYPTION_KEYS" in err.getvalue()
    settings.GEMINI_WEBHOOKS = {"ENCRYPTION_KEYS": [second]}
    readable = SigningSecret.objects.get(hint=f"of {first[:3]}")
    assert ciphers.decrypt(readable.ciphertext) == secret
    SigningSecret.objects.exclude(pk=readable.pk).delete()
    assert run("reencrypt")["current"] == 1


def test_delete_asks_first(
    google: EmulatorServer, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with pytest.raises(CommandError, match="Nothing was removed"):
        run("delete", "acme")
    assert WebhookEndpoint.objects.exists()

    monkeypatch.setattr("builtins.input", lambda _: "acme")
    assert run("delete", "acme") == {"deleted": "acme"}
    assert not WebhookEndpoint.objects.exists()


def test_commands(google: EmulatorServer, endpoint: WebhookEndpoint) -> None:
    assert run("update", "acme", "--name", "Acme", "--disable")["state"] == "disabled"
    assert run("update", "acme", "--enable")["state"] == "enabled"
    rotated = run("rotate", "acme")
    assert rotated["secret"].startswith("whsec_…")
    assert timezone.now().strftime("%Y") in rotated["old_valid_until"]
    assert run("delete", "acme", "--yes") == {"deleted": "acme"}
    for words in (["rotate", "acme"], ["update", "acme"], ["delete", "acme", "--yes"]):
        with pytest.raises(CommandError, match="no endpoint “acme”"):
            run(*words)


def test_since_without_now_is_refused(google: EmulatorServer, endpoint: WebhookEndpoint) -> None:
    with pytest.raises(CommandError, match="goes with --now"):
        run("rotate", "acme", "--since", "2026-11-20T14:00Z")
    with pytest.raises(CommandError, match="no ISO 8601 time"):
        run("rotate", "acme", "--now", "--since", "yesterday")
    assert endpoint.signing_secrets.count() == 1


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize(
    "since", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "0001-01-01T00:00"]
)
def test_since_that_no_database_takes_is_refused_before_anything_is_done(
    google: EmulatorServer, endpoint: WebhookEndpoint, settings: Any, since: str, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz

    with pytest.raises(CommandError, match="too far away"):
        run("rotate", "acme", "--now", "--since", since)

    assert endpoint.signing_secrets.count() == 1


def test_rotation_is_reported_though_the_listing_fails(
    google: EmulatorServer, endpoint: WebhookEndpoint
) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("SELECT") and 'revoked_at" IS NOT NULL' in sql:
            raise OperationalError("row was (payload)")
        return execute(sql, *rest)

    out = io.StringIO()
    words = ("rotate", "acme", "--now", "--since", "2026-01-01T00:00Z", "--json")
    with connection.execute_wrapper(fail), pytest.raises(SystemExit) as caught:
        call_command("gemini_webhooks", *words, stdout=out)

    assert caught.value.code == 1
    report = json.loads(out.getvalue())
    assert report["secret"] == SigningSecret.objects.get(revoked_at=None).hint
    assert "not listed (OperationalError)" in report["verified_by_old_secrets"]
    assert "payload" not in out.getvalue()


def test_no_secret_is_shown_anywhere(
    google: EmulatorServer, endpoint: WebhookEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    shown = json.dumps([run("rotate", "acme"), run("endpoints")]) + caplog.text
    for stored in SigningSecret.objects.all():
        opened = ciphers.decrypt(stored.ciphertext)
        assert opened not in shown
        assert opened not in repr(stored.__dict__)
        assert stored.ciphertext not in shown
    assert deliveries.rows(SigningSecret).count() == 2
