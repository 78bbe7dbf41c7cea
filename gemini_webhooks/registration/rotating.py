"""Rotates the signing secret of an endpoint, and says what the old one verified."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import Error as DatabaseTrouble
from django.db import transaction
from django.db.models import Q, QuerySet

from gemini_webhooks import clock, gateway
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.exceptions import ConfigurationError, GatewayError, RegistrationError
from gemini_webhooks.models import SigningSecret, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.registration import secrets

#: How long Google signs with the old secret too, unless it is revoked at once (protocol: 24 h).
GRACE = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What :func:`rotate` did.

    Attributes:
        secret: the new one.
        old_valid_until: when the old ones stop to verify, fit for a model field; ``None`` if
            they did at once.
    """

    secret: SigningSecret
    old_valid_until: datetime | None


def rotate(endpoint: WebhookEndpoint, *, revoke_immediately: bool = False) -> Rotation:
    """Have Google make a new signing secret, and let the old ones go.

    Args:
        endpoint: a registered one.
        revoke_immediately: the old secrets stop to verify now; otherwise in 24 hours, in which
            deliveries signed with either are accepted.

    Raises:
        RegistrationError: Google refused, and nothing has changed; or the new secret could not
            be stored, and has to be rotated again.
    """
    if not endpoint.remote_id:
        raise RegistrationError(f"The endpoint “{endpoint.slug}” is not registered at Google.")
    try:
        new = gateway.rotate_secret(
            api_key_name=endpoint.api_key_name,
            webhook_id=endpoint.remote_id,
            revoke_immediately=revoke_immediately,
        )
    except GatewayError as error:
        raise RegistrationError(f"Google did not rotate the secret: {error}") from error
    try:
        return _replace(endpoint, new, revoke_immediately=revoke_immediately)
    except (DatabaseTrouble, ConfigurationError) as error:
        raise RegistrationError(
            "Google made a new secret, but it could not be stored "
            f"({type(error).__name__}) and is shown only once: rotate again. "
            + ("Until then nothing is accepted." if revoke_immediately else "")
        ) from None


def verified_since(endpoint: WebhookEndpoint, since: datetime) -> QuerySet[WebhookDelivery]:
    """Deliveries that secrets verified which are revoked by now, newest first.

    What to look through after a secret leaked: among them are those that somebody else may have
    signed.

    Args:
        endpoint: whose secrets.
        since: aware time.
    """
    return rows(WebhookDelivery).filter(
        secret__endpoint=endpoint,
        secret__revoked_at__isnull=False,
        received_at__gte=clock.for_database(since),
    )


def _replace(endpoint: WebhookEndpoint, new: str, *, revoke_immediately: bool) -> Rotation:
    now = clock.now()
    old = rows(SigningSecret).filter(endpoint=endpoint, revoked_at=None)
    if revoke_immediately:
        # Before the new one is stored, and whatever becomes of that: the old one may have leaked.
        old.update(revoked_at=now)
        return Rotation(secret=secrets.store(endpoint, new), old_valid_until=None)
    end = now + GRACE
    with transaction.atomic(using=alias()):
        old.filter(Q(expires_at=None) | Q(expires_at__gt=end)).update(expires_at=end)
        secret = secrets.store(endpoint, new)
    return Rotation(secret=secret, old_valid_until=end)
