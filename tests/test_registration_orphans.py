"""Whichever step fails, no side keeps what the other does not know; or the message names it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from gemini_webhooks import gateway, registration
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.exceptions import ConfigurationError, GatewayError, RegistrationError
from gemini_webhooks.models import SigningSecret, WebhookEndpoint

pytest.importorskip("google.genai", reason="needs the extra [genai]")
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "test-key"
#: More than the SDK repeats, whatever its version.
ALWAYS = 9
#: What a database puts into an error; it must not be passed on.
SECRET_TEXT = "row was (whsec_...)"


@pytest.fixture
def google(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    with EmulatorServer(job_seconds=0, api_key=KEY, retry_base=0.01, output="inline") as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": "http://127.0.0.1:9",
            "API_KEYS": {"default": KEY},
        }
        yield running
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture
def endpoint(google: EmulatorServer) -> WebhookEndpoint:
    return registration.create("acme", subscribed_events=["batch.succeeded"])


@contextmanager
def broken_database(*statements: str) -> Iterator[None]:
    """Statements that begin so fail, as ``"INSERT signingsecret"``."""

    def run(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        for verb, table in (statement.split() for statement in statements):
            if sql.startswith(verb) and f'"gemini_webhooks_{table}"' in sql.partition("WHERE")[0]:
                raise OperationalError(SECRET_TEXT)
        return execute(sql, *rest)

    with connection.execute_wrapper(run):
        yield


def here() -> set[tuple[Any, ...]]:
    return {
        (row.remote_id, row.name, row.uri, tuple(row.subscribed_events), row.state)
        for row in WebhookEndpoint.objects.all()
    }


def there(google: EmulatorServer) -> set[tuple[Any, ...]]:
    return {
        (hook.id, hook.name, hook.uri, tuple(hook.subscribed_events), hook.state)
        for hook in google.emulator.webhooks
    }


def fault(google: EmulatorServer, fault: str) -> None:
    """``"POST lost"``: the work is done, and nobody hears of it."""
    method, _, how = fault.partition(" ")
    faults = google.emulator.faults
    if how == "lost":
        faults.drop_answer(method=method, path_contains="webhooks", times=ALWAYS)
    elif how == "lost once":
        faults.drop_answer(method=method, path_contains="webhooks")
    elif how == "denied once":
        faults.fail_next(method=method, path_contains="webhooks", status=503, done=True)
    elif how == "denied":
        faults.fail_next(
            method=method, path_contains="webhooks", status=500, done=True, times=ALWAYS
        )
    else:
        faults.fail_next(method=method, path_contains="webhooks", status=int(how), times=ALWAYS)


ACTIONS: dict[str, Callable[[WebhookEndpoint], object]] = {
    "update": lambda endpoint: registration.update(
        endpoint, name="new", subscribed_events=["batch.failed"]
    ),
    "disable": registration.disable,
    "enable": registration.enable,
    "delete": registration.delete,
}

# Creating


@pytest.mark.parametrize("how", ["400", "403", "408", "409", "429", "500", "503"])
def test_creation_that_google_refuses_leaves_nothing(google: EmulatorServer, how: str) -> None:
    fault(google, f"POST {how}")

    with pytest.raises(RegistrationError, match="Google did not register"):
        registration.create("acme")

    assert here() == there(google) == set()


@pytest.mark.parametrize("how", ["lost", "denied"])
def test_creation_whose_answer_is_lost_is_looked_for_and_removed(
    google: EmulatorServer, how: str
) -> None:
    other = registration.create("other")
    elsewhere = gateway.create_webhook(
        api_key_name="default",
        name="of somebody else, just now",
        uri="https://elsewhere.example/",
        subscribed_events=["batch.failed"],
    )
    fault(google, f"POST {how}")

    with pytest.raises(RegistrationError, match="Google did not register"):
        registration.create("acme")

    assert {hook[0] for hook in there(google)} == {other.remote_id, elsewhere.id}
    assert WebhookEndpoint.objects.get() == other


@pytest.mark.parametrize("how", ["lost once", "denied once"])
@pytest.mark.parametrize("then", ["stored", "not stored"])
def test_double_of_a_repeated_call_is_removed(
    google: EmulatorServer, monkeypatch: pytest.MonkeyPatch, how: str, then: str
) -> None:
    create = gateway.create_webhook

    def repeated(**words: Any) -> gateway.RemoteWebhook:
        """As SDK 2.x does by itself."""
        try:
            return create(**words)
        except GatewayError:
            assert len(google.emulator.webhooks) == 1
            return create(**words)

    monkeypatch.setattr(gateway, "create_webhook", repeated)
    fault(google, f"POST {how}")

    if then == "stored":
        registration.create("acme")
    else:
        with broken_database("INSERT signingsecret"), pytest.raises(RegistrationError):
            registration.create("acme")

    assert here() == there(google)
    assert len(here()) == SigningSecret.objects.count() == (then == "stored")


@pytest.mark.parametrize("blocked", ["GET 503", "GET lost", "DELETE 503", "DELETE 403"])
@pytest.mark.parametrize("remedy", ["delete", "sync"])
def test_creation_that_cannot_be_cleared_says_what_is_left_and_what_to_do(
    google: EmulatorServer, blocked: str, remedy: str
) -> None:
    fault(google, "POST lost")
    fault(google, blocked)

    with pytest.raises(RegistrationError) as caught:
        registration.create("acme")

    endpoint = WebhookEndpoint.objects.get()
    message = str(caught.value)
    assert f"Google may have a webhook for {endpoint.uri}" in message
    assert "endpoint “acme” stays here, disabled: delete it" in message
    assert "compare with Google (sync)" in message
    assert (endpoint.state, endpoint.remote_id) == ("disabled", "")
    assert there(google)

    google.emulator.faults.clear()
    if remedy == "delete":
        registration.delete(endpoint)
        assert here() == there(google) == set()
    else:
        # An SDK that repeated the call has left several: this endpoint takes one of them.
        assert "acme" in registration.sync().adopted
        assert here() == there(google)


def test_delete_that_cannot_look_for_leftovers_deletes_nothing(google: EmulatorServer) -> None:
    fault(google, "POST lost")
    fault(google, "GET 503")
    with pytest.raises(RegistrationError):
        registration.create("acme")
    endpoint = WebhookEndpoint.objects.get()
    google.emulator.faults.clear()

    fault(google, "GET 503")
    with pytest.raises(RegistrationError, match="Google did not remove"):
        registration.delete(endpoint)
    google.emulator.faults.clear()
    with (
        broken_database("SELECT webhookendpoint"),
        pytest.raises(RegistrationError, match=r"could not be compared .*do it again"),
    ):
        registration.delete(endpoint)

    assert WebhookEndpoint.objects.exists()
    assert there(google)


def test_slug_that_cannot_be_taken_is_never_told_to_google(google: EmulatorServer) -> None:
    with (
        broken_database("INSERT webhookendpoint"),
        pytest.raises(
            RegistrationError, match=r"nothing was sent to Google: do it again"
        ) as caught,
    ):
        registration.create("acme")

    assert here() == there(google) == set()
    assert SECRET_TEXT not in str(caught.value)


@pytest.mark.parametrize("statement", ["INSERT signingsecret", "UPDATE webhookendpoint"])
@pytest.mark.parametrize("blocked", ["", "GET 503"])
def test_secret_that_cannot_be_stored_removes_the_webhook(
    google: EmulatorServer, statement: str, blocked: str
) -> None:
    if blocked:
        fault(google, blocked)

    with (
        broken_database(statement),
        pytest.raises(RegistrationError, match=r"could not be stored.*removed again") as caught,
    ):
        registration.create("acme")

    assert here() == there(google) == set()
    assert SECRET_TEXT not in str(caught.value)


def test_lost_answer_of_the_removal_is_asked_for_again(google: EmulatorServer) -> None:
    fault(google, "DELETE lost once")

    with (
        broken_database("INSERT signingsecret"),
        pytest.raises(RegistrationError, match="removed again"),
    ):
        registration.create("acme")

    assert here() == there(google) == set()


@pytest.mark.parametrize("how", ["503", "403", "429"])
def test_webhook_that_cannot_be_removed_again_is_named(google: EmulatorServer, how: str) -> None:
    fault(google, f"DELETE {how}")

    with broken_database("INSERT signingsecret"), pytest.raises(RegistrationError) as caught:
        registration.create("acme")

    [hook] = google.emulator.webhooks
    assert hook.id in str(caught.value)
    assert "disabled: delete it" in str(caught.value)
    assert WebhookEndpoint.objects.get().remote_id == hook.id
    google.emulator.faults.clear()
    registration.delete(WebhookEndpoint.objects.get())
    assert here() == there(google) == set()


@pytest.mark.parametrize(
    ("how", "statements"),
    [
        ("POST 403", ["DELETE webhookendpoint"]),
        ("POST lost", ["DELETE webhookendpoint"]),
        ("", ["INSERT signingsecret", "DELETE webhookendpoint"]),
        ("", ["INSERT signingsecret", "DELETE webhookendpoint", "UPDATE webhookendpoint"]),
    ],
)
def test_row_that_cannot_be_removed_again_is_named(
    google: EmulatorServer, how: str, statements: list[str]
) -> None:
    if how:
        fault(google, how)

    with broken_database(*statements), pytest.raises(RegistrationError) as caught:
        registration.create("acme")

    assert "“acme” is left here, as it could not be removed (OperationalError): delete it" in str(
        caught.value
    )
    assert SECRET_TEXT not in str(caught.value)
    assert there(google) == set()
    google.emulator.faults.clear()
    registration.delete(WebhookEndpoint.objects.get())
    assert here() == there(google) == set()


def test_everything_fails_and_the_message_still_says_what_to_do(google: EmulatorServer) -> None:
    fault(google, "POST lost")
    fault(google, "GET 503")

    with broken_database("UPDATE webhookendpoint"), pytest.raises(RegistrationError, match="sync"):
        registration.create("acme")

    # As it could not be marked, it counts as under way for a while.
    google.emulator.faults.clear()
    assert registration.sync().adopted == []
    WebhookEndpoint.objects.update(created_at=timezone.now() - timedelta(minutes=6))
    assert "acme" in registration.sync().adopted


def test_missing_key_leaves_nothing(google: EmulatorServer, settings: Any) -> None:
    settings.GEMINI_WEBHOOKS["API_KEYS"] = {"default": ""}

    with pytest.raises(ConfigurationError, match="has no key"):
        registration.create("acme")
    assert here() == set()

    with (
        broken_database("DELETE webhookendpoint"),
        pytest.raises(RegistrationError, match=r"Nothing was sent to Google.*is left here"),
    ):
        registration.create("acme")


def test_webhook_that_was_there_before_is_not_taken_for_ours(
    google: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "http://127.0.0.1:9/webhooks/gemini/acme/"
    older = gateway.create_webhook(
        api_key_name="default", name="acme", uri=uri, subscribed_events=["batch.failed"]
    )
    listed = gateway.list_webhooks
    hours_ago = timezone.now() - timedelta(hours=1)

    def made_long_ago(**words: Any) -> list[gateway.RemoteWebhook]:
        return [
            replace(one, create_time=hours_ago) if one.id == older.id else one
            for one in listed(**words)
        ]

    monkeypatch.setattr(gateway, "list_webhooks", made_long_ago)
    fault(google, "POST lost")

    with pytest.raises(RegistrationError):
        registration.create("acme")

    assert [hook.id for hook in google.emulator.webhooks] == [older.id]


def test_webhook_that_somebody_made_by_hand_just_now_is_not_taken_for_ours(
    google: EmulatorServer,
) -> None:
    uri = "http://127.0.0.1:9/webhooks/gemini/acme/"
    theirs = gateway.create_webhook(
        api_key_name="default", name="by hand", uri=uri, subscribed_events=["batch.failed"]
    )
    fault(google, "POST lost")

    with pytest.raises(RegistrationError):
        registration.create("acme")

    assert [hook.id for hook in google.emulator.webhooks] == [theirs.id]


def test_row_without_an_id_goes_even_if_there_is_no_key_to_look_with(
    google: EmulatorServer, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="acme", uri="https://app.example.com/acme/")
    settings.GEMINI_WEBHOOKS = {**settings.GEMINI_WEBHOOKS, "API_KEYS": {"default": None}}

    registration.delete(endpoint)

    assert not WebhookEndpoint.objects.exists()
    assert "not looked for webhooks of endpoint acme" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"name": "a\0b"},
        {"name": "\ud800"},
        {"audiences": ["a\0"]},
        {"subscribed_events": ["\udfff"]},
        {"uri": "not an address"},
    ],
    ids=str,
)
def test_value_that_no_database_takes_is_never_told_to_google(
    google: EmulatorServer, values: dict[str, Any]
) -> None:
    with pytest.raises(RegistrationError):
        registration.create("acme", **values)

    assert here() == there(google) == set()


def test_webhook_without_a_date_is_left_and_named(
    google: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = gateway.list_webhooks
    monkeypatch.setattr(
        gateway,
        "list_webhooks",
        lambda **words: [replace(one, create_time=None) for one in listed(**words)],
    )
    fault(google, "POST lost")

    with pytest.raises(RegistrationError) as caught:
        registration.create("acme")

    assert all(hook.id in str(caught.value) for hook in google.emulator.webhooks)
    with pytest.raises(RegistrationError, match=r"Compare with Google \(sync\)"):
        registration.delete(WebhookEndpoint.objects.get())
    google.emulator.faults.clear()
    monkeypatch.undo()


# Changing


@pytest.mark.parametrize("how", ["lost", "denied"])
@pytest.mark.parametrize("action", ACTIONS)
def test_change_whose_answer_is_lost_is_mended_by_the_same_call(
    google: EmulatorServer, endpoint: WebhookEndpoint, action: str, how: str
) -> None:
    if action == "enable":
        registration.disable(endpoint)
    fault(google, f"{'DELETE' if action == 'delete' else 'PATCH'} {how}")

    try:
        ACTIONS[action](endpoint)
    except RegistrationError as error:
        assert "do the same again" in str(error)  # noqa: PT017  # an SDK may repeat to success
        google.emulator.faults.clear()
        ACTIONS[action](WebhookEndpoint.objects.get())

    assert here() == there(google)


@pytest.mark.parametrize("action", ACTIONS)
def test_change_that_cannot_be_written_down_says_so_and_is_mended_by_the_same_call(
    google: EmulatorServer, endpoint: WebhookEndpoint, action: str
) -> None:
    if action == "enable":
        registration.disable(endpoint)
    before = (endpoint.name, endpoint.state, endpoint.state_changed_at)
    statement = "DELETE webhookendpoint" if action == "delete" else "UPDATE webhookendpoint"

    with broken_database(statement), pytest.raises(RegistrationError) as caught:
        ACTIONS[action](endpoint)

    message = str(caught.value)
    assert message.startswith("Google has ")
    assert "could not be written down here (OperationalError): do the same again." in message
    assert SECRET_TEXT not in message
    assert (endpoint.name, endpoint.state, endpoint.state_changed_at) == before
    ACTIONS[action](WebhookEndpoint.objects.get())
    assert here() == there(google)
