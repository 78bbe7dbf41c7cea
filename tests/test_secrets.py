"""Signing secrets: shown once, lost, ended one by one, and kept elsewhere than in the database."""

from __future__ import annotations

import io
import itertools
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections
from django.db.models import QuerySet
from django.utils import timezone

from gemini_webhooks import ciphers, registration
from gemini_webhooks.exceptions import RegistrationError
from gemini_webhooks.models import SigningSecret, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.verification import secret_hint
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender, new_secret

WHOLE = "whsec_bm90LWEtcmVhbC1zZWNyZXQtYnV0LWxvbmcu"


@pytest.fixture
def acme() -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(slug="acme")


def stored(at: WebhookEndpoint, text: str = WHOLE, **values: Any) -> SigningSecret:
    return at.signing_secrets.create(
        ciphertext=ciphers.encrypt(text), hint=secret_hint(text), **values
    )


def lose_the_key(settings: Any) -> None:
    settings.SECRET_KEY = "another " * 10


def sender_of(text: str, slug: str = "acme") -> StaticSender:
    return StaticSender(path=f"/webhooks/gemini/{slug}/", secret=text)


def run(*words: str) -> Any:
    out = io.StringIO()
    call_command("gemini_webhooks", *words, "--json", stdout=out)
    return json.loads(out.getvalue())


@every_database
class TestOnEveryDatabase:
    @pytest.fixture(autouse=True)
    def _on(self, database: str) -> None:
        """Every test of this class runs once per database."""

    def test_a_secret_is_shown_once(self, acme: WebhookEndpoint) -> None:
        secret = stored(acme)

        assert registration.reveal(secret, actor="ada") == WHOLE
        with pytest.raises(RegistrationError, match=r"to ada at \d{4}-.* UTC.*rotate to get a new"):
            registration.reveal(secret, actor="bob")

        secret.refresh_from_db()
        assert secret.revealed_by == "ada"
        assert timezone.now() - secret.revealed_at < timedelta(minutes=1)

    def test_of_two_at_once_one_sees_it(self, acme: WebhookEndpoint) -> None:
        secret = stored(acme)
        start, seen, refused = Barrier(4), [], []

        def ask(name: str) -> None:
            start.wait(20)
            try:
                seen.append(registration.reveal(secret, actor=name))
            except RegistrationError as error:
                refused.append(str(error))
            finally:
                connections.close_all()

        threads = [Thread(target=ask, args=(name,)) for name in ("ada", "bob", "cleo", "dan")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert seen == [WHOLE]
        assert len(refused) == 3
        assert all("shown" in words for words in refused)

    def test_revoking_one_leaves_the_others(self, acme: WebhookEndpoint) -> None:
        leaked, other = stored(acme), new_secret()
        stored(acme, other)
        assert sender_of(WHOLE).post().status_code == 200

        registration.revoke(leaked)

        assert sender_of(WHOLE).post().status_code == 401
        assert sender_of(other).post().status_code == 200
        with pytest.raises(RegistrationError, match="has ended before"):
            registration.revoke(leaked)


pytestmark = pytest.mark.django_db(transaction=True)

# Shown once


def test_who_saw_which_secret_is_logged_without_it(
    acme: WebhookEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    registration.reveal(secret := stored(acme), actor="ada\nforged line")

    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    for words in (secret.hint, "acme", r"'ada\nforged line'"):
        assert words in record.getMessage()
    assert WHOLE[6:-4] not in caplog.text


def test_what_is_shown_does_not_appear_in_a_traceback_with_variables(
    acme: WebhookEndpoint,
) -> None:
    text = registration.reveal(stored(acme), actor="ada")

    assert WHOLE[6:-4] not in repr({"text": text})


def test_an_unreadable_secret_is_not_used_up(acme: WebhookEndpoint, settings: Any) -> None:
    secret = stored(acme)
    key = settings.SECRET_KEY
    lose_the_key(settings)
    with pytest.raises(RegistrationError, match=r"Restore the key .*, or rotate"):
        registration.reveal(secret, actor="ada")

    settings.SECRET_KEY = key
    assert registration.reveal(secret, actor="bob") == WHOLE


def test_a_database_that_cannot_note_who_asked_shows_nothing(
    acme: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = stored(acme)

    def down(*_: Any, **__: Any) -> None:
        raise DatabaseError("the row was …")

    with monkeypatch.context() as broken:
        broken.setattr(QuerySet, "update", down)
        with pytest.raises(RegistrationError, match=r"\(DatabaseError\)\. Try again") as caught:
            registration.reveal(secret, actor="ada")
        with pytest.raises(RegistrationError, match=r"not revoked \(DatabaseError\)"):
            registration.revoke(secret)
    assert "the row was" not in str(caught.value)
    assert registration.reveal(secret, actor="ada") == WHOLE


@pytest.mark.parametrize(
    ("values", "words"),
    [({"revoked_at": timezone.now()}, "is revoked"), ({"expires_at": timezone.now()}, "expired")],
)
def test_a_secret_that_has_ended_is_not_shown(
    acme: WebhookEndpoint, values: dict[str, Any], words: str
) -> None:
    secret = stored(acme, **values)

    assert words in registration.not_shown(secret)
    with pytest.raises(RegistrationError, match=words):
        registration.reveal(secret, actor="ada")
    secret.refresh_from_db()
    assert secret.revealed_at is None


def test_a_secret_that_is_gone_is_not_shown(acme: WebhookEndpoint) -> None:
    secret = stored(acme)
    SigningSecret.objects.all().delete()

    with pytest.raises(RegistrationError, match="was deleted"):
        registration.reveal(secret, actor="ada")


def test_a_dump_holds_only_the_ciphertext(acme: WebhookEndpoint) -> None:
    secret = stored(acme)
    call_command("dumpdata", "gemini_webhooks", stdout=(out := io.StringIO()))

    assert secret.ciphertext in out.getvalue()
    assert WHOLE[6:-4] not in out.getvalue()


# Lost


def test_valid_secrets_are_told_apart_by_whether_they_can_be_read(
    acme: WebhookEndpoint, settings: Any
) -> None:
    lost = stored(acme)
    stored(acme, revoked_at=timezone.now())
    stored(acme, expires_at=timezone.now())
    lose_the_key(settings)
    kept = stored(acme, new_secret())

    found = registration.valid_secrets(acme)

    assert (found.readable, found.unreadable) == ((kept,), (lost,))
    assert "Restore the key in ENCRYPTION_KEYS" in found.why


@pytest.mark.parametrize("keys", [["no key"], "one key", None, 5, [None], [["nested"]]])
def test_encryption_keys_that_are_none_make_secrets_unreadable_and_break_nothing(
    acme: WebhookEndpoint, settings: Any, keys: Any
) -> None:
    secret = stored(acme)
    settings.GEMINI_WEBHOOKS = {"ENCRYPTION_KEYS": keys}

    found = registration.valid_secrets(acme)

    assert (found.readable, found.unreadable) == ((), (secret,))
    assert "ENCRYPTION_KEYS" in found.why
    answer = sender_of(WHOLE).post()
    assert (answer.status_code, answer.json()) == (503, {"error": "secret_unreadable"})
    with pytest.raises(RegistrationError, match="ENCRYPTION_KEYS"):
        registration.reveal(secret, actor="ada")


# Ended one by one


def test_revoke_command_takes_the_hint_or_its_end(acme: WebhookEndpoint) -> None:
    first, second = stored(acme), stored(acme, new_secret())

    assert run("revoke", "acme", first.hint, "--yes") == {
        "revoked": first.hint,
        "valid": [second.hint],
    }
    report = run("revoke", "acme", second.hint[-4:], "--yes")

    assert "gemini_webhooks rotate acme" in report["valid"]
    assert not SigningSecret.objects.filter(revoked_at=None).exists()


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        ("nope", "No valid secret ends in “nope”"),
        ("", "No valid secret ends"),
        ("=", "Several valid secrets end in “=”"),
        ("whsec_…gone", "No valid secret ends"),
    ],
)
def test_hint_that_names_no_secret_or_several_is_refused(
    acme: WebhookEndpoint, hint: str, words: str
) -> None:
    for name in ("aaa=", "bbb="):
        acme.signing_secrets.create(ciphertext=ciphers.encrypt(WHOLE), hint=f"whsec_…{name}")
    acme.signing_secrets.create(ciphertext="", hint="whsec_…gone", revoked_at=timezone.now())

    with pytest.raises(CommandError, match=f"{words}.*whsec_…bbb=, whsec_…aaa="):
        run("revoke", "acme", hint, "--yes")
    assert SigningSecret.objects.filter(revoked_at=None).count() == 2


def test_revoke_command_asks_first(acme: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = stored(acme)
    monkeypatch.setattr("builtins.input", lambda _: "")
    with pytest.raises(CommandError, match="Nothing was revoked"):
        run("revoke", "acme", secret.hint)
    assert sender_of(WHOLE).post().status_code == 200

    monkeypatch.setattr("builtins.input", lambda _: "acme")
    run("revoke", "acme", secret.hint)
    assert sender_of(WHOLE).post().status_code == 401


# Kept elsewhere


class Store:
    """A site's own store of secrets: what it answers by slug, and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []

    def __call__(self, slug: str) -> Any:
        self.asked.append(slug)
        answer = self.answers.get(slug, [])
        if isinstance(answer, BaseException):
            raise answer
        return answer


store = Store()


@pytest.fixture
def kept(configured: dict[str, Any]) -> Iterator[Store]:
    configured["SECRET_BACKEND"] = "tests.test_secrets.store"
    store.__init__()
    yield store
    store.__init__()


def test_secrets_of_the_backend_hold_without_any_other(kept: Store, acme: WebhookEndpoint) -> None:
    kept.answers = {"": [WHOLE], "acme": (text for text in [WHOLE, new_secret()])}

    assert StaticSender(secret=WHOLE).post().status_code == 200
    assert sender_of(WHOLE).post().status_code == 200

    assert kept.asked == ["", "acme"]
    assert set(WebhookDelivery.objects.values_list("key_hint", "secret")) == {
        (secret_hint(WHOLE), None)
    }


def test_they_hold_beside_those_of_settings_and_database(
    kept: Store, static: StaticSender, acme: WebhookEndpoint
) -> None:
    kept.answers = {"": [WHOLE], "acme": [WHOLE]}
    stored(acme, text := new_secret())

    for sender in (static, StaticSender(secret=WHOLE), sender_of(text), sender_of(WHOLE)):
        assert sender.post().status_code == 200


def test_use_of_a_stored_secret_is_noted_though_the_backend_has_it_too(
    kept: Store, acme: WebhookEndpoint
) -> None:
    kept.answers = {"acme": [WHOLE]}
    own = stored(acme)

    sender_of(WHOLE).post()

    assert WebhookDelivery.objects.get().secret == own


def test_they_hold_at_their_own_address_only(kept: Store, acme: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.create(slug="bolt")
    kept.answers = {"acme": [WHOLE], "bolt": [new_secret()], "": [new_secret()]}

    assert sender_of(WHOLE, "bolt").post().status_code == 401
    assert StaticSender(secret=WHOLE).post().status_code == 401


def test_backend_is_asked_once_for_a_refused_request(kept: Store, acme: WebhookEndpoint) -> None:
    kept.answers = {"acme": [WHOLE]}

    assert sender_of(new_secret()).post().status_code == 401
    assert kept.asked == ["acme"]


def test_backend_is_not_asked_where_nothing_is_accepted(kept: Store, acme: WebhookEndpoint) -> None:
    acme.state = WebhookEndpoint.State.DISABLED
    acme.save()

    assert sender_of(WHOLE, "nobody").post().status_code == 404
    assert sender_of(WHOLE).post().status_code == 404
    assert kept.asked == []


def test_backend_is_not_asked_for_a_token(kept: Store, dynamic: DynamicSender) -> None:
    kept.answers = {"": RuntimeError()}

    assert dynamic.post().status_code == 200
    assert kept.asked == []


BROKEN = {
    "raises": RuntimeError("whsec_hunter2"),
    "raises a database error": DatabaseError("whsec_hunter2"),
    "raises a key error": KeyError("whsec_hunter2"),
    "nothing": None,
    "one text": "whsec_hunter2",
    "bytes": b"whsec_hunter2",
    "a number": 5,
    "no texts": [None, 5, WHOLE.encode()],
    "a number that is base64": [10**39],
    "no secrets": ["", "whsec_hunter2"],
    "a class": dict,
    "without an end": itertools.repeat("whsec_hunter2"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_broken_backend_stops_only_what_it_alone_could_decide(
    kept: Store,
    static: StaticSender,
    acme: WebhookEndpoint,
    caplog: pytest.LogCaptureFixture,
    answer: Any,
) -> None:
    kept.answers = {"": answer, "acme": answer}

    stored(acme)

    assert static.post().status_code == 200
    assert sender_of(WHOLE).post().status_code == 200
    refused = StaticSender(secret=new_secret()).post()
    assert (refused.status_code, refused.json()) == (503, {"error": "secret_unreadable"})
    assert refused["Retry-After"]
    assert "SECRET_BACKEND failed for the slug “acme”: " in caplog.text
    assert "hunter2" not in caplog.text


def test_rubbish_does_not_spoil_the_secrets_beside_it(
    kept: Store, configured: dict[str, Any]
) -> None:
    kept.answers = {"": [None, 10**39, WHOLE, "rubbish"]}
    configured["SIGNING_SECRETS"] = [10**39, other := new_secret()]

    for text, status in ((WHOLE, 200), (other, 200), (new_secret(), 503)):
        assert StaticSender(secret=text).post().status_code == status


@pytest.mark.parametrize("path", ["no.such.module", "tests.test_secrets.no_such_name", 5])
def test_backend_that_cannot_be_imported(
    configured: dict[str, Any], static: StaticSender, path: Any
) -> None:
    configured["SECRET_BACKEND"] = path

    assert static.post().status_code == 200
    assert StaticSender(secret=new_secret()).post().status_code == 503
