"""A secret is shown once, revoked, and missed."""

from __future__ import annotations

from cryptography.fernet import Fernet

from gemini_webhooks import ciphers, registration
from gemini_webhooks.models import SigningSecret
from tests.admin.pages import page_url


def test_secret_is_shown_once(endpoint, operator):
    secret = SigningSecret.objects.get()
    operator.open(page_url(endpoint))
    operator.follow("Show")
    operator.look("reveal")
    operator.press("Show it, this once")

    operator.sees("It is shown only now.")
    text = ciphers.decrypt(secret.ciphertext)
    assert operator.value_of(f"Signing secret {secret.hint}") == text
    operator.look("reveal-shown")

    operator.open(operator.path)
    operator.sees_not(text)
    operator.look("reveal-shown-before")
    operator.follow("Back to the endpoint")
    operator.sees("To root,")
    assert text not in operator.text()


def test_who_may_only_look_sees_no_secret(endpoint, viewer):
    viewer.open(page_url(endpoint))
    viewer.sees(SigningSecret.objects.get().hint)

    assert viewer.links().isdisjoint({"Show", "Revoke"})


def test_old_secret_is_revoked_after_a_question(endpoint, operator):
    old = SigningSecret.objects.get()
    registration.rotate(endpoint)
    operator.open(page_url(endpoint))
    operator.follow("Revoke", nth=1)
    operator.sees(old.hint, "This cannot be undone.")
    operator.look("revoke")
    operator.press("Revoke it here, at once")

    operator.sees("is revoked: nothing it signs holds.")
    operator.look("endpoint-one-revoked")
    old.refresh_from_db()
    assert old.revoked_at

    operator.follow("Revoke")
    operator.sees("No other valid secret can be read.")
    operator.look("revoke-the-last")
    operator.follow("Rotate secret")
    operator.sees("Choose when the old one ends:")


def test_secret_that_cannot_be_read_leads_to_a_rotation(endpoint, operator):
    by_a_lost_key = Fernet(Fernet.generate_key()).encrypt(b"whsec_")
    SigningSecret.objects.update(ciphertext=by_a_lost_key.decode())
    operator.open(page_url(endpoint))
    operator.sees("cannot be read.")
    operator.look("endpoint-unreadable-secret")
    operator.follow("Rotate to get a new secret")
    operator.tick("stops at once")
    operator.press("Rotate signing secret")
    operator.open(page_url(endpoint))
    operator.sees_not("cannot be read.")
    operator.press("Ping")
    operator.sees("The ping came back.")
