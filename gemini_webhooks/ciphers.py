"""Encryption of signing secrets at rest (Fernet: AES-128-CBC and HMAC-SHA256)."""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings as django_settings
from django.utils.encoding import force_bytes

from gemini_webhooks.conf import settings
from gemini_webhooks.exceptions import ConfigurationError

# Changing it makes every stored secret unreadable.
DERIVATION_INFO = b"gemini_webhooks.ciphers"


class Plaintext(str):
    """A secret in clear, which no traceback shows that prints the values of variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"


def encrypt(text: str) -> str:
    """Encrypt with the first key.

    Raises:
        ConfigurationError: ``ENCRYPTION_KEYS`` holds something that is no Fernet key.
    """
    return _keys()[0].encrypt(text.encode()).decode()


def decrypt(ciphertext: str) -> Plaintext:
    """Decrypt with whichever key fits.

    Raises:
        ConfigurationError: none does, or ``ENCRYPTION_KEYS`` is not usable.
    """
    try:
        return _decrypted(ciphertext, _keys())
    except (InvalidToken, ValueError):
        raise _unreadable() from None


def decrypt_again(ciphertext: str) -> Plaintext:
    """As :func:`decrypt`, for what each request needs: remembered as long as the keys are the same.

    Whether the secret is still valid is for the caller to know, each time.

    Raises:
        ConfigurationError: likewise.
    """
    try:
        return _remembered(ciphertext, _keys())
    except (InvalidToken, ValueError):
        raise _unreadable() from None


def _decrypted(ciphertext: str, keys: tuple[Fernet, ...]) -> Plaintext:
    return Plaintext(MultiFernet(keys).decrypt(ciphertext).decode())


_remembered = lru_cache(maxsize=4096)(_decrypted)


def is_current(ciphertext: str) -> bool:
    """Whether it is encrypted with the first key, so that older ones can be removed.

    Raises:
        ConfigurationError: ``ENCRYPTION_KEYS`` is not usable.
    """
    try:
        _keys()[0].decrypt(ciphertext)
    except (InvalidToken, ValueError):
        return False
    return True


def reencrypt(ciphertext: str) -> str:
    """Decrypt with whichever key fits and encrypt with the first one.

    Raises:
        ConfigurationError: none does, or ``ENCRYPTION_KEYS`` is not usable.
    """
    try:
        return MultiFernet(_keys()).rotate(ciphertext).decode()
    except (InvalidToken, ValueError):
        raise _unreadable() from None


def _keys() -> tuple[Fernet, ...]:
    """The keys, the one that encrypts first.

    Keys derived from ``SECRET_KEY`` stay readable behind configured ones: a site that sets
    ``ENCRYPTION_KEYS`` later must not lose the secrets that it has.
    """
    derived = _derived((django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS))
    try:
        return _configured(tuple(settings.ENCRYPTION_KEYS)) + derived
    except TypeError:
        raise ConfigurationError(
            "GEMINI_WEBHOOKS['ENCRYPTION_KEYS'] is not a list of Fernet keys."
        ) from None


# Both run for every request. The arguments are in the settings anyway, so that remembering
# them exposes nothing.
@lru_cache(maxsize=8)
def _configured(keys: tuple[str, ...]) -> tuple[Fernet, ...]:
    return tuple(_fernet(position, key) for position, key in enumerate(keys))


@lru_cache(maxsize=8)
def _derived(secrets: tuple[str | bytes, ...]) -> tuple[Fernet, ...]:
    return tuple(Fernet(_derived_key(secret)) for secret in secrets)


def _fernet(position: int, key: str) -> Fernet:
    try:
        return Fernet(key)
    except (ValueError, TypeError):
        raise ConfigurationError(
            f"GEMINI_WEBHOOKS['ENCRYPTION_KEYS'][{position}] is not a Fernet key. Make one with "
            "cryptography.fernet.Fernet.generate_key()."
        ) from None


def _derived_key(secret: str | bytes) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=DERIVATION_INFO)
    return base64.urlsafe_b64encode(derivation.derive(force_bytes(secret)))


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        "A stored secret was encrypted with a key that this site does not have. Restore the key in "
        "ENCRYPTION_KEYS (or the old SECRET_KEY in SECRET_KEY_FALLBACKS), or rotate the signing "
        "secret."
    )
