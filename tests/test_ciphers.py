"""Secrets at rest: keys rotate, none is lost on the way, and none is told."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from gemini_webhooks import ciphers
from gemini_webhooks.exceptions import ConfigurationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))

# Made with the key that SECRET_KEY = "fixed" gives.
FIXED_CIPHERTEXT = (
    "gAAAAABlU_EA3C566H6UNN1VLUgd1-V4X5gaO_Lgf0WCmkXbOYkSgQqz6jIU"
    "Z2_eqdVuXvCXsArAyG6qshGHifdTscUuyj1eig=="
)


@pytest.fixture
def encryption_keys(settings):
    def configure(*keys):
        settings.GEMINI_WEBHOOKS = {"ENCRYPTION_KEYS": list(keys)}

    return configure


def test_a_secret_is_stored_unreadable_and_differently_each_time():
    once, again = ciphers.encrypt(SECRET), ciphers.encrypt(SECRET)

    assert once != again
    assert SECRET[6:] not in once
    assert ciphers.decrypt(once) == ciphers.decrypt(again) == SECRET


def test_the_first_key_encrypts_and_all_decrypt(encryption_keys):
    encryption_keys(OLD)
    stored = ciphers.encrypt(SECRET)
    encryption_keys(NEW, OLD)

    assert ciphers.decrypt(stored) == SECRET
    assert Fernet(NEW).decrypt(ciphers.encrypt(SECRET)).decode() == SECRET


def test_after_reencryption_the_old_key_can_go(encryption_keys):
    encryption_keys(OLD)
    stored = ciphers.encrypt(SECRET)
    encryption_keys(NEW, OLD)
    assert not ciphers.is_current(stored)

    moved = ciphers.reencrypt(stored)
    encryption_keys(NEW)

    assert ciphers.is_current(moved)
    assert ciphers.decrypt(moved) == SECRET


@pytest.mark.parametrize("use", [ciphers.decrypt, ciphers.reencrypt])
def test_without_the_key_the_message_says_what_to_do(encryption_keys, use):
    encryption_keys(OLD)
    stored = ciphers.encrypt(SECRET)
    encryption_keys(NEW)

    assert not ciphers.is_current(stored)
    with pytest.raises(ConfigurationError, match=r"Restore the key .* or rotate") as caught:
        use(stored)
    assert caught.value.__cause__ is None


def test_a_derived_key_follows_secret_key_and_its_fallbacks(settings):
    settings.SECRET_KEY = "old " * 20
    stored = ciphers.encrypt(SECRET)

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = b"new " * 20, ["old " * 20]
    assert ciphers.decrypt(stored) == SECRET
    assert not ciphers.is_current(stored)
    assert ciphers.is_current(ciphers.reencrypt(stored))

    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(ConfigurationError, match="SECRET_KEY_FALLBACKS"):
        ciphers.decrypt(stored)


def test_the_derived_key_never_changes(settings):
    """Else an upgrade of this package would make every stored secret unreadable."""
    settings.SECRET_KEY = "fixed"

    assert ciphers.decrypt(FIXED_CIPHERTEXT) == "whsec_fixed"


def test_setting_encryption_keys_later_loses_nothing(encryption_keys):
    encryption_keys()
    stored = ciphers.encrypt(SECRET)
    encryption_keys(NEW)

    assert ciphers.decrypt(stored) == SECRET
    assert not ciphers.is_current(stored)


@pytest.mark.parametrize(
    "unusable",
    ["", "no key", "é" * 44, OLD[:-8], None, 5],
    # Not by their values: each process of a run makes keys of its own.
    ids=["empty", "text", "accents", "cut", "none", "number"],
)
@pytest.mark.parametrize("use", [ciphers.encrypt, ciphers.decrypt, ciphers.is_current])
def test_a_setting_that_is_no_key_is_named_but_not_quoted(encryption_keys, unusable, use):
    encryption_keys(OLD, unusable)

    with pytest.raises(ConfigurationError, match=r"\['ENCRYPTION_KEYS'\]\[1\]") as caught:
        use(SECRET)
    assert not unusable or str(unusable) not in str(caught.value).replace("[1]", "")


@given(st.text(st.characters(codec=None)))
def test_arbitrary_text_is_no_ciphertext(text):
    assert not ciphers.is_current(text)
    with pytest.raises(ConfigurationError):
        ciphers.decrypt(text)
