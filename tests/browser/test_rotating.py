"""A secret is rotated, with a day of grace and at once."""

from __future__ import annotations

from django.core.management import call_command

from gemini_webhooks import ciphers, registration
from gemini_webhooks.models import SigningSecret, WebhookDelivery
from tests.admin.pages import page_url
from tests.senders import StaticSender


def sender(secret):
    return StaticSender(path="/webhooks/gemini/acme/", secret=ciphers.decrypt(secret.ciphertext))


def test_with_grace_both_verify_until_the_old_one_is_safe_to_let_go(google, endpoint, operator):
    old = SigningSecret.objects.get()
    operator.open(page_url(endpoint))
    operator.follow("Rotate secret")
    operator.look("rotate")
    operator.tick("stays valid for 24 hours")
    operator.press("Rotate signing secret")

    operator.sees("is in place; until")
    new = SigningSecret.objects.latest("pk")
    operator.sees(new.hint, old.hint, "valid until it expires", "Send a ping.")
    operator.look("endpoint-in-grace")
    assert sender(old).post().status_code == 200
    call_command("gemini_webhooks", "drain")
    operator.open(page_url(endpoint))
    operator.sees("Yes: it was used after the newest one was made.")

    SigningSecret.objects.filter(pk=old.pk).update(last_used_at=old.created_at)
    assert sender(new).post().status_code == 200
    call_command("gemini_webhooks", "drain")
    operator.open(page_url(endpoint))
    operator.sees("Safe to let go: the newest one is in use, and this one was not used since.")
    operator.look("endpoint-safe-to-let-go")


def test_at_once_lists_what_the_leaked_secret_verified(google, endpoint, operator):
    old = SigningSecret.objects.get()
    sender(old).post(webhook_id="signed-by-whom")
    operator.open(page_url(endpoint))
    operator.follow("Rotate secret")
    operator.tick("stops at once")
    operator.press("Rotate signing secret")

    operator.sees("the old ones are revoked", "signed-by-whom", "1 delivery")
    operator.look("verified")
    assert sender(old).post().status_code == 401
    operator.fill("Since", "2030-01-01T00:00")
    operator.press("Show")
    operator.sees("Revoked secrets verified nothing since then.")
    operator.look("verified-nothing")
    operator.follow("Back to the endpoint")
    operator.sees("revoked")
    operator.look("endpoint-after-a-leak")
    operator.follow("After a leak: what the revoked secrets verified")
    operator.follow("signed-by-whom")
    assert operator.path == page_url(WebhookDelivery.objects.get())


def test_refusal_keeps_the_choice(endpoint, operator, settings):
    settings.GEMINI_WEBHOOKS["API_KEYS"]["default"] = "wrong-key"
    operator.open(page_url(endpoint))
    operator.follow("Rotate secret")
    operator.tick("stops at once")
    operator.press("Rotate signing secret")

    operator.sees("Google did not rotate the secret")
    operator.look("rotate-refused-by-google")
    assert operator.is_ticked("stops at once")
    assert SigningSecret.objects.get().revoked_at is None


def test_endpoint_without_a_secret_says_how_to_get_one(google, endpoint, operator):
    SigningSecret.objects.all().delete()
    operator.open(page_url(endpoint))
    operator.sees("Rotate to get one from Google.")
    operator.look("endpoint-without-secret")
    operator.follow("Rotate secret")
    operator.tick("stops at once")
    operator.press("Rotate signing secret")
    registration.ping(endpoint)
    assert google.emulator.outbox.wait_idle(20)
    assert WebhookDelivery.objects.count() == 1
