"""Signing secrets at rest: stored encrypted, shown once, ended one by one, encrypted anew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import Error as DatabaseTrouble
from django.db import transaction

from gemini_webhooks import ciphers, clock, endpoints, logs
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.exceptions import ConfigurationError, RegistrationError
from gemini_webhooks.models import SigningSecret, WebhookEndpoint
from gemini_webhooks.verification import parse_secret, secret_hint

logger = logs.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class ValidSecrets:
    """The secrets of an endpoint that have neither expired nor been revoked, newest first.

    Attributes:
        readable: those that this site can verify with.
        unreadable: those that it cannot, as no key opens them.
        why: what is wrong with the unreadable ones and what to do; empty if there are none.
    """

    readable: tuple[SigningSecret, ...]
    unreadable: tuple[SigningSecret, ...] = ()
    why: str = ""


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


def require_encryption() -> None:
    """Find out whether a secret could be stored, before Google makes one and shows it once.

    Raises:
        ConfigurationError: ``ENCRYPTION_KEYS`` is not usable.
    """
    ciphers.encrypt("")


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


def valid_secrets(endpoint: WebhookEndpoint) -> ValidSecrets:
    """Which secrets of ``endpoint`` hold now, and which of them can be read."""
    readable: list[SigningSecret] = []
    unreadable: list[SigningSecret] = []
    why: list[str] = []
    for secret in endpoints.valid_now(rows(SigningSecret).filter(endpoint=endpoint)):
        try:
            endpoints.opened(secret)
        except ConfigurationError as error:
            unreadable.append(secret)
            why.append(str(error))
        else:
            readable.append(secret)
    return ValidSecrets(
        readable=tuple(readable),
        unreadable=tuple(unreadable),
        why=" ".join(dict.fromkeys(why)),
    )


def not_shown(secret: SigningSecret) -> str:
    """Why :func:`reveal` would refuse, as a sentence; empty if it would not."""
    if secret.revoked_at:
        return f"The secret {secret.hint} is revoked, so there is no use in showing it."
    if secret.expires_at and secret.expires_at <= clock.now():
        return f"The secret {secret.hint} has expired, so there is no use in showing it."
    if secret.revealed_at:
        return (
            f"The secret {secret.hint} was shown before, to {secret.revealed_by or 'somebody'} at "
            f"{_utc(secret.revealed_at)}, and is shown only once. If it was not written down, "
            "rotate to get a new one."
        )
    return ""


def reveal(secret: SigningSecret, *, actor: str) -> str:
    """Show a stored secret, this once.

    Args:
        secret: one that is valid and was not shown before.
        actor: who asks; kept with the secret and logged.

    Returns:
        ``whsec_…``, whole. It must not be stored, logged or put into a URL.

    Raises:
        RegistrationError: it is not shown, and the message says why. Unless it was shown before,
            it can be asked for again.
    """
    try:
        # Decrypted in the transaction of the claim: one that cannot be read is not used up.
        with transaction.atomic(using=alias()):
            text = _claimed(secret, actor)
    except DatabaseTrouble as error:
        raise RegistrationError(
            "The secret is not shown, because it could not be written down who has seen it "
            f"({type(error).__name__}). Try again."
        ) from None
    return text


def _claimed(secret: SigningSecret, actor: str) -> str:
    # The statement decides, so that of two people at once only one sees it.
    unseen = endpoints.valid_now(rows(SigningSecret).filter(pk=secret.pk, revealed_at=None))
    seen = unseen.update(revealed_at=clock.now(), revealed_by=actor[:254])
    row = rows(SigningSecret).select_related("endpoint").filter(pk=secret.pk).first()
    if row is None:
        raise RegistrationError(f"The secret {secret.hint} was deleted.")
    if not seen:
        raise RegistrationError(not_shown(row) or f"The secret {row.hint} was shown just now.")
    try:
        text = ciphers.decrypt(row.ciphertext)
    except ConfigurationError as error:
        raise RegistrationError(str(error)) from None
    shown = ("signing secret %s of endpoint %s was shown to %r", row.hint, row.endpoint.slug, actor)
    transaction.on_commit(partial(logger.warning, *shown), using=alias())
    return text


def named(endpoint: WebhookEndpoint, hint: str) -> SigningSecret:
    """Find a valid secret of ``endpoint``.

    Args:
        endpoint: whose.
        hint: as it is shown, ``whsec_…3frh``, or how it ends.

    Raises:
        RegistrationError: none ends like that, or several do.
    """
    valid = list(endpoints.valid_now(rows(SigningSecret).filter(endpoint=endpoint)))
    found = [secret for secret in valid if hint and secret.hint.endswith(hint)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(secret.hint for secret in valid) or "none"
    problem = "Several valid secrets end" if found else "No valid secret ends"
    raise RegistrationError(
        f"{problem} in “{hint}” at the endpoint “{endpoint.slug}”; valid are: {there}."
    )


def revoke(secret: SigningSecret) -> None:
    """End one secret here, at once and in every process; Google is not told.

    Raises:
        RegistrationError: it has ended already, or it could not be written down.
    """
    try:
        valid = endpoints.valid_now(rows(SigningSecret).filter(pk=secret.pk))
        ended = valid.update(revoked_at=clock.now())
    except DatabaseTrouble as error:
        raise RegistrationError(
            f"The secret {secret.hint} was not revoked ({type(error).__name__}). Try again."
        ) from None
    if not ended:
        raise RegistrationError(f"The secret {secret.hint} has ended before.")
    logger.warning("signing secret %s of endpoint %s is revoked", secret.hint, secret.endpoint.slug)


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


def _utc(moment: datetime) -> str:
    return f"{clock.aware(moment):%Y-%m-%d %H:%M} UTC"
