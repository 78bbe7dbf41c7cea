"""What is here is compared with what Google has, and what differs is mended."""

from __future__ import annotations

from gemini_webhooks import gateway, registration
from gemini_webhooks.models import WebhookEndpoint
from tests.admin.pages import list_url, page_url

DEFAULT = {"api_key_name": "default"}


def remote(name, site):
    return gateway.create_webhook(
        **DEFAULT,
        name=name,
        uri=f"{site}/webhooks/gemini/{name}/",
        subscribed_events=["batch.failed"],
    )


def test_endpoint_that_only_google_has_is_taken_over_and_gets_a_secret(google, operator, site):
    remote("made-elsewhere", site)
    operator.open(list_url(WebhookEndpoint))
    operator.press("Compare with Google")

    operator.sees("1 endpoint was taken over from Google: made-elsewhere.")
    operator.look("sync-taken-over")
    operator.follow("Rotate to get a secret")
    operator.press("Rotate signing secret")
    operator.sees("The new secret")
    operator.press("Ping")
    operator.sees("The ping came back.")


def test_what_differs_is_mended_from_the_page(google, endpoint, operator):
    gone = registration.create("gone", subscribed_events=["batch.failed"])
    gateway.delete_webhook(**DEFAULT, webhook_id=gone.remote_id)
    gateway.update_webhook(
        **DEFAULT, webhook_id=endpoint.remote_id, name="Somebody's", state="disabled"
    )
    operator.open(list_url(WebhookEndpoint))
    operator.press("Compare with Google")
    operator.sees("What differs", "Somebody's", "was deleted at Google")
    operator.look("sync-differs")

    operator.press("Enable at Google")
    operator.open(list_url(WebhookEndpoint))
    operator.press("Compare with Google")
    operator.follow("Edit")
    operator.press("Save here and at Google")
    operator.sees("Saved here and at Google.")
    operator.open(page_url(gone))
    operator.follow("Delete")
    operator.press("Delete here and at Google")
    operator.press("Compare with Google")

    operator.sees("1 endpoint is known on both sides.", "All the same.")
    operator.look("sync-all-the-same")


def test_site_without_a_key_is_told_so(google, operator, settings):
    settings.GEMINI_WEBHOOKS["API_KEYS"] = {}
    operator.open(list_url(WebhookEndpoint))
    operator.press("Compare with Google")

    operator.sees("No key in API_KEYS has a value.")
    operator.look("sync-without-key")
