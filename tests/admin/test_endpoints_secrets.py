"""Secrets in the admin: shown once to those who may, revoked one by one, and lost ones."""

# ruff: noqa: F811  # fixtures of another module are asked for by their names

from __future__ import annotations

import logging
import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.db import DatabaseError, connection
from django.test import Client

from gemini_webhooks import ciphers, clock
from gemini_webhooks.admin import EndpointAdmin
from gemini_webhooks.models import SigningSecret
from tests.admin import rows
from tests.admin.conftest import logged_in
from tests.admin.pages import page_url, text_of
from tests.admin.test_endpoints import (  # noqa: F401  # fixtures
    endpoint,
    google,
    history,
    messages_of,
    url,
    with_permissions,
)
from tests.senders import StaticSender, new_secret

pytestmark = pytest.mark.django_db(transaction=True)

FIELD = re.compile(r'<input type="text" id="gw-secret"[^>]* value="([^"]*)"[^>]* readonly')
REVEAL = "reveal_signingsecret"


@pytest.fixture
def at():
    return rows.endpoint(remote_id="wh_1")


@pytest.fixture
def secret(at):
    return at.signing_secrets.get()


@pytest.fixture
def ada(django_user_model):
    user = django_user_model.objects.create_user("ada", is_staff=True)
    return with_permissions(user, "view_webhookendpoint", "view_signingsecret", REVEAL)


def lose(secret):
    secret.ciphertext = "gAAAAAlost"
    secret.save()


def send(text):
    return StaticSender(path="/webhooks/gemini/orders/", secret=text).post().status_code


# Shown once


def test_secret_is_shown_once_after_a_page_that_says_so(at, secret, ada):
    link = url("reveal", at, secret.pk)
    assert f'href="{link}"' in text_of(ada.get(page_url(at)))
    asking = ada.get(link)
    assert "to nobody afterwards" in text_of(asking)
    assert rows.SECRET not in text_of(asking)

    answer = ada.post(link)

    assert FIELD.findall(unescape(text_of(answer))) == [rows.SECRET]
    again = [text_of(ada.post(link)), text_of(ada.get(link)), text_of(ada.get(page_url(at)))]
    assert all(rows.SECRET not in unescape(text) for text in again)
    assert "was shown before, to ada at " in again[0]
    assert "was shown before, to ada at " in again[1]
    assert "To ada, " in again[2]
    assert link not in again[2]


def test_the_answer_is_kept_nowhere(at, secret, ada, caplog):
    answer = ada.post(link := url("reveal", at, secret.pk))

    cached = answer["Cache-Control"].split(", ")
    assert {"no-store", "private"} <= set(cached)
    assert answer["Referrer-Policy"] == "same-origin"
    assert rows.SECRET not in link
    assert rows.SECRET not in str(dict(ada.session))
    assert rows.SECRET not in caplog.text
    assert messages_of(answer) == []
    assert 'autocomplete="off"' in text_of(answer)


def test_it_is_written_down_who_saw_it(at, secret, ada, caplog):
    ada.post(url("reveal", at, secret.pk))

    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("ada", str(at.pk))
    assert entry.get_change_message() == f"Was shown the signing secret {secret.hint}."
    secret.refresh_from_db()
    assert secret.revealed_by == "ada"
    [logged] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert (
        logged.getMessage() == f"signing secret {secret.hint} of endpoint orders was shown to 'ada'"
    )


@pytest.mark.parametrize("error", [DatabaseError("the row"), RuntimeError("a bug")])
def test_without_a_history_entry_it_is_not_shown_nor_used_up(
    at, secret, ada, monkeypatch, settings, error
):
    settings.DEBUG = True  # the page of an error lists the values of variables
    ada.raise_request_exception = False

    def fail(*_):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(EndpointAdmin, "log_change", fail)
        text = ada.post(url("reveal", at, secret.pk)).content.decode()

    assert "RuntimeError at /admin/" in text or "cannot be written (DatabaseError)." in text
    assert "the row" not in text
    for end in (rows.SECRET, rows.SECRET[6:-4], rows.CIPHERTEXT):
        assert end not in unescape(text)
    assert FIELD.findall(unescape(text_of(ada.post(url("reveal", at, secret.pk)))))


def test_who_lacks_the_permission_sees_neither_link_nor_page(at, secret, viewer):
    link = url("reveal", at, secret.pk)
    for browser in (logged_in(viewer), with_permissions(viewer, "change_webhookendpoint")):
        assert link not in text_of(browser.get(page_url(at)))
        assert browser.get(link).status_code == 403
        assert browser.post(link).status_code == 403
    assert "/login/?next=" in Client().post(link).url
    secret.refresh_from_db()
    assert secret.revealed_at is None


def test_permission_to_see_secrets_does_not_open_an_endpoint(at, secret, django_user_model):
    user = django_user_model.objects.create_user("eve", is_staff=True)

    assert with_permissions(user, REVEAL).post(url("reveal", at, secret.pk)).status_code == 403


def test_secret_of_another_endpoint_is_not_found(at, secret, browser):
    other = rows.endpoint("other")
    for name in ("reveal", "revoke"):
        assert browser.get(url(name, other, secret.pk)).status_code == 404
        assert browser.post(url(name, other, secret.pk)).status_code == 404
        assert browser.post(url(name, at, 10**9)).status_code == 404
    assert history() == []


@pytest.mark.parametrize(
    ("values", "words"),
    [({"revoked_at": clock.now()}, "is revoked"), ({"expires_at": clock.now()}, "has expired")],
)
def test_secret_that_has_ended_has_no_link_and_is_not_shown(at, secret, browser, values, words):
    SigningSecret.objects.update(**values)

    text = text_of(browser.get(page_url(at)))
    for name in ("reveal", "revoke"):
        assert url(name, at, secret.pk) not in text
    for text in (
        text_of(browser.get(url("reveal", at, secret.pk))),
        text_of(browser.post(url("reveal", at, secret.pk))),
    ):
        assert words in text
        assert "<form method=" not in text.partition("gw-page")[2]
    assert "there is nothing to revoke" in text_of(browser.get(url("revoke", at, secret.pk)))


def test_posts_without_the_csrf_token_are_refused(at, secret, superuser):
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(superuser)
    for name in ("reveal", "revoke"):
        assert careful.post(url(name, at, secret.pk)).status_code == 403


def test_it_works_within_request_transactions(at, secret, ada, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    assert FIELD.findall(unescape(text_of(ada.post(url("reveal", at, secret.pk)))))


# Lost


def test_page_says_first_that_a_secret_is_lost(at, secret, browser):
    lose(secret)

    text = text_of(browser.get(page_url(at)))

    callout = text.partition('class="gw-callout gw-callout-bad"')[2].partition("</div>")[0]
    assert f"The signing secret {secret.hint} cannot be read." in callout
    assert "Restore the key in ENCRYPTION_KEYS" in callout
    assert "No static webhook is accepted here until then." in callout
    assert f'href="{url("rotate", at)}"' in callout
    assert '<span class="gw-badge gw-badge-bad">cannot be read</span>' in text
    assert url("reveal", at, secret.pk) not in text
    assert "Restore the key" in text_of(browser.post(url("reveal", at, secret.pk)))
    secret.refresh_from_db()
    assert secret.revealed_at is None
    assert history() == []


def test_page_says_that_another_secret_still_holds(at, secret, browser):
    lose(secret)
    at.signing_secrets.create(ciphertext=rows.CIPHERTEXT, hint="whsec_…good")

    text = text_of(browser.get(page_url(at)))

    assert "What another valid secret signs is accepted." in text
    assert text.count("cannot be read") == 2


def test_page_of_an_endpoint_without_a_secret_offers_to_rotate(at, browser):
    SigningSecret.objects.update(revoked_at=clock.now())

    text = text_of(browser.get(page_url(at)))

    assert "There is no valid signing secret" in text
    assert text.count(f'href="{url("rotate", at)}"') == 2


def test_who_cannot_rotate_is_told_but_not_offered(at, secret, viewer):
    lose(secret)
    text = text_of(logged_in(viewer).get(page_url(at)))
    assert "cannot be read" in text
    assert url("rotate", at) not in text


def test_endpoint_that_google_does_not_know_cannot_be_rotated(browser):
    local = rows.endpoint()
    local.signing_secrets.all().delete()

    text = text_of(browser.get(page_url(local)))

    assert "not registered at Google, which makes the secrets" in text
    assert "Rotate to get a new secret" not in text


def test_secret_backend_stands_in_for_stored_secrets(at, secret, browser, settings):
    settings.GEMINI_WEBHOOKS = {"SECRET_BACKEND": "tests.test_secrets.store"}
    assert "is accepted here" not in text_of(browser.get(page_url(at)))
    assert "from SECRET_BACKEND" in text_of(browser.get(url("revoke", at, secret.pk)))

    secret.delete()

    text = text_of(browser.get(page_url(at)))
    assert "with those that SECRET_BACKEND gives" in text
    assert "There is no valid signing secret" not in text


@pytest.mark.parametrize("keys", [["no key"], None, 5])
def test_encryption_keys_that_are_none_do_not_break_the_page(at, secret, browser, settings, keys):
    settings.GEMINI_WEBHOOKS = {"ENCRYPTION_KEYS": keys}

    text = unescape(text_of(browser.get(page_url(at))))

    assert "cannot be read" in text
    assert "['ENCRYPTION_KEYS']" in text
    for name in ("reveal", "revoke"):
        assert browser.get(url(name, at, secret.pk)).status_code == 200
    assert "['ENCRYPTION_KEYS']" in unescape(text_of(browser.post(url("reveal", at, secret.pk))))


def test_lost_secret_is_mended_by_rotation_from_the_page(endpoint, browser):
    lose(endpoint.signing_secrets.get())
    lost = text_of(browser.get(page_url(endpoint)))
    [link] = re.findall(r'<a class="button" href="([^"]*)">Rotate to get a new secret', lost)

    browser.post(link, {"when": "at-once"})

    assert "cannot be read" not in text_of(browser.get(page_url(endpoint)))
    new = endpoint.signing_secrets.latest("pk")
    shown = unescape(text_of(browser.post(url("reveal", endpoint, new.pk))))
    [text] = FIELD.findall(shown)
    assert text == ciphers.decrypt(new.ciphertext)
    assert StaticSender(path="/webhooks/gemini/acme/", secret=text).post().status_code == 200


# Revoked one by one


def test_revoking_asks_then_ends_the_secret(at, secret, viewer):
    other = new_secret()
    at.signing_secrets.create(ciphertext=ciphers.encrypt(other), hint="whsec_…next")
    browser = with_permissions(viewer, "change_webhookendpoint")
    link = url("revoke", at, secret.pk)
    assert f'href="{link}"' in text_of(browser.get(page_url(at)))
    asking = text_of(browser.get(link))
    assert "Google signs with it until it ends there" in asking
    assert "No other valid secret" not in asking
    assert send(rows.SECRET) == 200

    answer = browser.post(link, follow=True)

    assert answer.redirect_chain == [(page_url(at), 302)]
    assert messages_of(answer) == [
        f"The signing secret {secret.hint} is revoked: nothing it signs holds."
    ]
    assert (send(rows.SECRET), send(other)) == (401, 200)
    assert history() == [f"Revoked the signing secret {secret.hint}."]
    assert messages_of(browser.post(link, follow=True)) == [
        f"The secret {secret.hint} has ended before."
    ]
    assert len(history()) == 1


def test_page_warns_before_the_last_readable_secret_goes(at, secret, browser):
    lost = at.signing_secrets.create(ciphertext="gAAAAAlost", hint="whsec_…lost")

    assert "No other valid secret can be read." in text_of(
        browser.get(url("revoke", at, secret.pk))
    )
    assert "No other valid" not in text_of(browser.get(url("revoke", at, lost.pk)))


def test_who_may_only_look_cannot_revoke(at, secret, viewer):
    link = url("revoke", at, secret.pk)
    browser = logged_in(viewer)

    assert link not in text_of(browser.get(page_url(at)))
    assert browser.get(link).status_code == 403
    assert browser.post(link).status_code == 403
    assert send(rows.SECRET) == 200


def test_pages_need_no_inline_code_and_run_none(browser):
    at = rows.hostile_family()[0]
    secret = at.signing_secrets.get()
    pages = [browser.get(page_url(at))]
    pages += [browser.get(url(name, at, secret.pk)) for name in ("reveal", "revoke")]
    pages += [browser.post(url("reveal", at, secret.pk)) for _ in range(2)]
    for text in map(text_of, pages):
        assert not re.search(r"<script(?![^>]*\bsrc=)|<[^>]*\s(style|on\w+)=", text)
        assert "<script>alert" not in text
