"""Signing secrets at rest: stored encrypted, and encrypted anew after a change of keys."""

from __future__ import annotations

from dataclasses import dataclass

from gemini_webhooks import ciphers
from gemini_webhooks.deliveries import rows
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.models import SigningSecret, WebhookEndpoint
from gemini_webhooks.verification import parse_secret, secret_hint


@dataclass(frozen=True, kw_only=True)
class Reencryption:
    """What :func:`reencrypt` did, counted.

    Attributes:
        current: were encrypted with the first key before.
        reencrypted: are now.
        unreadable: no key opens them; their endpoints need a rotation.
    """

    current: int
    reencrypted: int
    unreadable: tuple[str, ...]


def store(endpoint: WebhookEndpoint, secret: str) -> SigningSecret:
    """Keep a new signing secret of ``endpoint``, encrypted.

    Raises:
        ConfigurationError: it is no signing secret, or it cannot be encrypted.
        django.db.Error: it cannot be stored.
    """
    parse_secret(secret)
    return rows(SigningSecret).create(
        endpoint=endpoint, ciphertext=ciphers.encrypt(secret), hint=secret_hint(secret)
    )


def reencrypt() -> Reencryption:
    """Encrypt every stored secret with the first key of ``ENCRYPTION_KEYS``.

    Afterwards the other keys are not needed any more. What no key opens is left as it is.
    """
    current = reencrypted = 0
    unreadable: list[str] = []
    for secret in rows(SigningSecret).select_related("endpoint").order_by("pk"):
        try:
            if ciphers.is_current(secret.ciphertext):
                current += 1
                continue
            ciphertext = ciphers.reencrypt(secret.ciphertext)
        except ConfigurationError:
            unreadable.append(f"{secret.endpoint.slug} {secret.hint}")
            continue
        unchanged = rows(SigningSecret).filter(pk=secret.pk, ciphertext=secret.ciphertext)
        reencrypted += unchanged.update(ciphertext=ciphertext)
    return Reencryption(current=current, reencrypted=reencrypted, unreadable=tuple(unreadable))
