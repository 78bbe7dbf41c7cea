"""An endpoint is edited, switched off and on, and deleted, by hand and by Google."""

from __future__ import annotations

import pytest

from gemini_webhooks import clock, gateway, registration
from gemini_webhooks.admin import endpoint_actions
from gemini_webhooks.models import RejectedRequest, SigningSecret, WebhookEndpoint
from tests.admin.pages import list_url, page_url
from tests.browser.conftest import KEY

State = WebhookEndpoint.State


def there(endpoint):
    return gateway.get_webhook(api_key_name="default", webhook_id=endpoint.remote_id)


def test_edit_with_what_google_objects_to_shown_on_the_form(endpoint, operator, settings, site):
    operator.open(list_url(WebhookEndpoint))
    operator.look("list")
    operator.follow("acme")
    operator.follow("Edit")
    operator.look("edit")
    operator.tick("batch.failed")
    operator.fill("Name", "Acme & sons")
    settings.GEMINI_WEBHOOKS["API_KEYS"]["default"] = "wrong-key"
    operator.press("Save here and at Google")

    operator.sees("Google did not change the webhook")
    operator.look("edit-refused-by-google")
    assert operator.value_of("Name") == "Acme & sons"
    assert operator.is_ticked("batch.failed")
    assert WebhookEndpoint.objects.get().name == "Acme"

    settings.GEMINI_WEBHOOKS["API_KEYS"]["default"] = KEY
    operator.fill("URI", f"{site}/webhooks/gemini/other/")
    operator.press("Save here and at Google")
    operator.sees("Saved here and at Google.")
    assert there(endpoint).name == "Acme & sons"
    assert there(endpoint).uri == f"{site}/webhooks/gemini/other/"

    operator.follow("Edit")
    operator.sees("is not the URI that is registered")
    operator.look("edit-foreign-uri")


def test_disable_and_enable(endpoint, operator):
    operator.open(page_url(endpoint))
    operator.press("Disable")
    operator.sees("This endpoint is disabled")
    operator.look("endpoint-disabled")
    assert "Ping" not in operator.can_press()
    assert there(endpoint).state == State.DISABLED

    operator.press("Enable")
    operator.sees("Enabled: Google delivers again.")
    assert there(endpoint).state == State.ENABLED


def test_button_that_google_refuses_says_why(endpoint, operator, settings):
    settings.GEMINI_WEBHOOKS["API_KEYS"]["default"] = "wrong-key"
    operator.open(page_url(endpoint))
    operator.press("Disable")

    operator.sees("Disabled here: what comes is refused. Google could not be told")
    operator.look("endpoint-disabled-here-only")
    assert WebhookEndpoint.objects.get().state == State.DISABLED

    operator.press("Enable")

    operator.sees("Google did not enable the webhook")
    operator.look("endpoint-refused-by-google")
    assert WebhookEndpoint.objects.get().state == State.DISABLED


def test_delete_asks_first(endpoint, operator):
    operator.open(page_url(endpoint))
    operator.follow("Delete")
    operator.sees(endpoint.remote_id, "This cannot be undone")
    operator.look("delete")
    operator.follow("Cancel")
    assert operator.path == page_url(endpoint)

    operator.follow("Delete")
    operator.press("Delete here and at Google")
    operator.sees("“Acme” is deleted, here and at Google.")
    assert operator.path == list_url(WebhookEndpoint)
    assert gateway.list_webhooks(api_key_name="default") == []


# Pings that do not come back


def test_ping_that_is_refused_here_says_why(endpoint, operator):
    SigningSecret.objects.update(revoked_at=clock.now())
    operator.open(page_url(endpoint))
    operator.press("Ping")

    operator.sees("A request to this address was refused meanwhile.")
    operator.look("pinged-refused")
    operator.follow("Show what was refused")
    assert operator.path in map(page_url, RejectedRequest.objects.all())
    operator.look("rejection")


def test_ping_to_a_site_that_is_down_says_what_to_look_at(endpoint, operator, monkeypatch):
    registration.update(endpoint, uri="http://127.0.0.1:9/webhooks/gemini/acme/")
    monkeypatch.setattr(endpoint_actions, "PING_SECONDS", 600)
    monkeypatch.setattr(endpoint_actions, "REFRESH_SECONDS", 600)
    operator.open(page_url(endpoint))
    operator.press("Ping")
    operator.sees("Google accepted the ping; waiting for it to arrive.")
    operator.look("pinged-waiting")

    monkeypatch.setattr(endpoint_actions, "PING_SECONDS", 0)
    operator.follow("Look again")
    operator.sees("Nothing was accepted so far.", "can it be reached from the internet?")
    operator.look("pinged-nothing-came")
    assert {"Ping again"} <= operator.can_press()


@pytest.mark.parametrize("google", [{"max_tries": 1, "disable_after": 2}], indirect=True)
def test_endpoint_that_google_switched_off_is_taken_up_again(google, endpoint, operator):
    leaked = SigningSecret.objects.get()
    SigningSecret.objects.update(revoked_at=clock.now())
    for _ in range(2):
        registration.ping(endpoint)
        assert google.emulator.outbox.wait_idle(20)

    operator.open(list_url(WebhookEndpoint))
    operator.press("Compare with Google")
    operator.sees("because deliveries kept failing", "What to mend")
    operator.look("sync-switched-off")
    operator.follow("Back to the endpoints")
    operator.sees("disabled by Google after failed deliveries")
    operator.look("list-switched-off")
    operator.follow("acme")
    operator.sees("Google switched “Acme” off", "What to mend")
    operator.look("endpoint-switched-off")

    SigningSecret.objects.filter(pk=leaked.pk).update(revoked_at=None)
    operator.press("Take up again")
    operator.sees("Enabled: Google delivers again.")
    operator.press("Ping")
    operator.sees("The ping came back.")
    assert there(endpoint).state == State.ENABLED
