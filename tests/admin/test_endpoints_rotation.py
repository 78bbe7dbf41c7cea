"""Rotation from the admin: grace, at once, and what the old secret verified."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone

from gemini_webhooks import ciphers, clock
from gemini_webhooks.models import SigningSecret, WebhookDelivery
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import page_url, text_of
from tests.admin.test_endpoints import (  # noqa: F401  # fixtures
    endpoint,
    google,
    history,
    messages_of,
    refusing,
    url,
    with_permissions,
)
from tests.senders import StaticSender

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def old(endpoint):  # noqa: F811  # a fixture
    return endpoint.signing_secrets.get()


def secret(at, minutes_ago, **values):
    hint = f"whsec_…{minutes_ago:04}"
    created = clock.after(-60 * minutes_ago)
    return SigningSecret.objects.create(
        endpoint=at, ciphertext=rows.CIPHERTEXT, hint=hint, created_at=created, **values
    )


def verified(by, webhook_id, hours_ago):
    return rows.delivery(
        webhook_id=webhook_id,
        endpoint=by.endpoint,
        secret=by,
        received_at=clock.after(-3600 * hours_ago),
    )


def test_rotation_with_grace_keeps_the_old_secret_for_a_day(endpoint, old, browser):  # noqa: F811  # a fixture, asked for by its name
    answer = browser.post(url("rotate", endpoint), {"when": "grace"}, follow=True)

    assert answer.redirect_chain == [(page_url(endpoint), 302)]
    new = endpoint.signing_secrets.latest("pk")
    old.refresh_from_db()
    assert old.revoked_at is None
    assert old.expires_at - timezone.now() > timedelta(hours=23)
    [message] = messages_of(answer)
    assert new.hint in message
    assert re.search(r"; until .+ the old one holds\.$", message)
    assert ".." not in message
    assert history() == [message]


def test_rotation_of_an_adopted_endpoint_speaks_of_no_old_secret(endpoint, browser):  # noqa: F811  # a fixture, asked for by its name
    SigningSecret.objects.all().delete()

    answer = browser.post(url("rotate", endpoint), {"when": "grace"}, follow=True)

    new = endpoint.signing_secrets.get()
    assert messages_of(answer) == [f"The new secret {new.hint} is in place."]


def test_rotation_at_once_revokes_and_lists_what_the_old_one_verified(endpoint, old, browser):  # noqa: F811  # a fixture, asked for by its name
    sender = StaticSender(path="/webhooks/gemini/acme", secret=ciphers.decrypt(old.ciphertext))
    sender.post(webhook_id="verified-by-the-old-one")

    answer = browser.post(url("rotate", endpoint), {"when": "at-once"}, follow=True)

    assert answer.redirect_chain == [(url("verified", endpoint), 302)]
    text = text_of(answer)
    assert "verified-by-the-old-one" in text
    assert page_url(WebhookDelivery.objects.get()) in text
    assert sender.post().status_code == 401
    assert "the old ones are revoked" in history()[0]


def test_at_once_without_the_permission_to_see_deliveries_goes_back(endpoint, viewer):  # noqa: F811
    browser = with_permissions(viewer, "change_webhookendpoint")
    viewer.user_permissions.remove(viewer.user_permissions.get(codename="view_webhookdelivery"))

    answer = browser.post(url("rotate", endpoint), {"when": "at-once"})

    assert answer.url == page_url(endpoint)
    assert browser.get(url("verified", endpoint)).status_code == 403
    assert url("verified", endpoint) not in text_of(browser.get(page_url(endpoint)))


@pytest.mark.parametrize("when", ["grace", "at-once"])
def test_rotation_that_google_refuses_changes_nothing(endpoint, old, browser, refusing, when):  # noqa: F811
    text = unescape(text_of(browser.post(url("rotate", endpoint), {"when": when})))

    assert "Google did not rotate the secret: " in text
    assert f'value="{when}"' in text
    old.refresh_from_db()
    assert (old.revoked_at, old.expires_at) == (None, None)
    assert history() == []


def test_choice_is_asked_for(endpoint, browser):  # noqa: F811  # a fixture, asked for by its name
    assert "This field is required" in text_of(browser.post(url("rotate", endpoint), {}))
    assert SigningSecret.objects.count() == 1


@pytest.mark.parametrize("use_tz", [True, False])
def test_list_starts_a_day_ago_or_when_the_reader_says(viewer, settings, use_tz):
    settings.USE_TZ = use_tz
    at = rows.endpoint()
    at.signing_secrets.all().delete()
    leaked = secret(at, 9999, revoked_at=clock.now())
    other = secret(at, 1)
    verified(leaked, "long-ago", hours_ago=48)
    verified(leaked, "lately", hours_ago=20)
    verified(other, "by-the-new-one", hours_ago=0)
    browser = logged_in(viewer)

    by_default = text_of(browser.get(url("verified", at)))
    since = clock.after(-3600 * 72)
    since = (timezone.localtime(since) if use_tz else since).strftime("%Y-%m-%dT%H:%M")
    further = text_of(browser.get(url("verified", at), {"since": since}))
    none = text_of(browser.get(url("verified", at), {"since": "2999-01-01T00:00"}))

    assert ("lately" in by_default, "long-ago" in by_default) == (True, False)
    assert ("lately" in further, "long-ago" in further) == (True, True)
    assert "by-the-new-one" not in by_default + further
    assert f'value="{since}"' in further
    assert "verified nothing since then" in none


@pytest.mark.parametrize("since", ["yesterday", "0001-01-01T00:00", "9999-12-31T23:59", "\0", ""])
def test_time_that_is_none_is_answered_with_a_page(viewer, since):
    at = rows.endpoint()
    text_of(logged_in(viewer).get(url("verified", at), {"since": since}))


@pytest.mark.parametrize(
    ("old_used", "new_used", "words"),
    [
        (-90, -10, "Safe to let go"),
        (None, -10, "Safe to let go"),
        (-5, -10, "Yes: it was used after the newest one was made."),
        (-90, None, "Not known: no delivery that the newest one signed was processed yet."),
    ],
)
def test_page_tells_when_an_old_secret_is_safe_to_let_go(viewer, old_used, new_used, words):
    at = rows.endpoint()
    at.signing_secrets.all().delete()
    secret(at, 120, last_used_at=old_used and clock.after(old_used * 60))
    secret(at, 60, last_used_at=new_used and clock.after(new_used * 60))

    text = text_of(logged_in(viewer).get(page_url(at)))

    assert words in text
    assert "Yes, it is the newest." in text


def test_page_says_nothing_about_secrets_that_have_ended(viewer):
    at = rows.endpoint()
    at.signing_secrets.all().delete()
    secret(at, 120, revoked_at=clock.now())
    secret(at, 60, expires_at=clock.now())

    text = text_of(logged_in(viewer).get(page_url(at)))

    for words in ("Safe to let go", "Yes", "Not known"):
        assert words not in text
