"""Rotates the signing secret of an endpoint, and says what the old one verified."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import Error as DatabaseTrouble
from django.db import transaction
from django.db.models import Max, Q, QuerySet

from gemini_webhooks import clock, endpoints, gateway, logs
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.exceptions import ConfigurationError, GatewayError, RegistrationError
from gemini_webhooks.models import SigningSecret, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.registration import leftovers, secrets

logger = logs.get_logger(__name__)

#: How long Google signs with the old secret too, unless it is revoked at once (protocol: 24 h).
GRACE = timedelta(hours=24)
#: How much later than that Google may say it ends: its clock is not ours.
SLACK = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What :func:`rotate` did.

    Attributes:
        secret: the new one.
        old_valid_until: when the last of the old ones stops to verify, fit for a model field;
            ``None`` if none verifies any more, or there was none.
    """

    secret: SigningSecret
    old_valid_until: datetime | None


def rotate(endpoint: WebhookEndpoint, *, revoke_immediately: bool = False) -> Rotation:
    """Have Google make a new signing secret, and let the old ones go.

    Args:
        endpoint: a registered one.
        revoke_immediately: the old secrets stop to verify now; otherwise when Google stops to
            sign with them, in 24 hours. Until then deliveries signed with either are accepted.

    Raises:
        RegistrationError: Google refused, and nothing has changed; or its answer was lost, or
            the new secret could not be stored, and it has to be rotated again. After that the old
            ones do not verify any more if they were to be revoked at once.
        ConfigurationError: it could not be encrypted, or there is no API key; nothing has changed.
    """
    if not endpoint.remote_id:
        raise RegistrationError(
            f"The endpoint “{endpoint.slug}” is not registered at Google. Delete it and create it "
            "again, or compare with Google (sync), which takes over a webhook at its address."
        )
    secrets.require_encryption()
    try:
        new = gateway.rotate_secret(
            api_key_name=endpoint.api_key_name,
            webhook_id=endpoint.remote_id,
            revoke_immediately=revoke_immediately,
        )
    except GatewayError as error:
        raise _not_rotated(endpoint, error, at_once=revoke_immediately) from error
    try:
        if revoke_immediately:
            return Rotation(secret=_replace_at_once(endpoint, new), old_valid_until=None)
        return _replace_with_grace(endpoint, new)
    except Exception as error:  # noqa: BLE001  # a site's own signal receivers may raise anything
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


def _not_rotated(
    endpoint: WebhookEndpoint, error: GatewayError, *, at_once: bool
) -> RegistrationError:
    """What to raise; a leaked secret stops to verify even if only Google's answer was lost."""
    if not leftovers.may_be_done(error):
        return RegistrationError(f"Google did not rotate the secret: {error}")
    lost = f"Google gave no usable answer and may have rotated the secret ({error}). "
    if not at_once:
        return RegistrationError(
            f"{lost}Rotate again: the new secret would be shown in that answer only. The old ones "
            "go on to verify here."
        )
    try:
        _old(endpoint).update(revoked_at=clock.now())
    except DatabaseTrouble as trouble:
        return RegistrationError(
            f"{lost}The old secrets could not be revoked here ({type(trouble).__name__}) and are "
            "still accepted: rotate again at once."
        )
    return RegistrationError(
        f"{lost}The old secrets are revoked here all the same. Rotate again: until then nothing "
        "is accepted, and Google repeats what it sends for 24 hours."
    )


def _replace_at_once(endpoint: WebhookEndpoint, new: str) -> SigningSecret:
    # Before the new one is stored, and whatever becomes of that: the old one may have leaked.
    _old(endpoint).update(revoked_at=clock.now())
    return secrets.store(endpoint, new)


def _replace_with_grace(endpoint: WebhookEndpoint, new: str) -> Rotation:
    end = clock.now() + GRACE
    old = _old(endpoint)
    with transaction.atomic(using=alias()):
        ending = old.filter(Q(expires_at=None) | Q(expires_at__gt=end)).update(expires_at=end)
        last = _last_end(old)
        secret = secrets.store(endpoint, new)
    if ending:
        # Only now: the new secret is stored, whatever becomes of this.
        last = _ends_at_google(endpoint, old, end)
    return Rotation(secret=secret, old_valid_until=last)


def _ends_at_google(
    endpoint: WebhookEndpoint, old: QuerySet[SigningSecret], end: datetime
) -> datetime | None:
    """Let secrets that got ``end`` as their own end when Google stops to sign with them.

    Returns:
        When the last of ``old`` ends; ``None`` if all have.
    """
    try:
        there = gateway.get_webhook(
            api_key_name=endpoint.api_key_name, webhook_id=endpoint.remote_id
        )
        latest = clock.aware(end) + SLACK
        for remote in there.secrets:
            if remote.expires_at is not None:
                said = clock.for_database(min(clock.aware(remote.expires_at), latest))
                old.filter(expires_at=end, hint=remote.hint).update(expires_at=said)
        return _last_end(old)
    except (GatewayError, ConfigurationError, DatabaseTrouble) as error:
        logger.warning(
            "endpoint %s: the old secret ends in 24 hours here, as Google did not say when (%s)",
            endpoint.slug,
            type(error).__name__,
        )
        return end


def _old(endpoint: WebhookEndpoint) -> QuerySet[SigningSecret]:
    """Those that are not revoked. What is stored later has no end, and is not meant."""
    return rows(SigningSecret).filter(endpoint=endpoint, revoked_at=None)


def _last_end(old: QuerySet[SigningSecret]) -> datetime | None:
    ends: datetime | None = endpoints.valid_now(old).aggregate(last=Max("expires_at"))["last"]
    return ends
