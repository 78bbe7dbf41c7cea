"""What an address accepts: the secrets and token rules of the root or a registered endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.core.validators import slug_re
from django.db.models import Q, QuerySet

from gemini_webhooks import ciphers, clock
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import rows
from gemini_webhooks.exceptions import ConfigurationError, UnknownEndpoint
from gemini_webhooks.models import SigningSecret, WebhookEndpoint
from gemini_webhooks.verification import SigningKey, TokenRules, parse_secret, secret_hint

MAX_SLUG_LENGTH = 100


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What is needed to verify a request to one address.

    Attributes:
        slug: empty for the root endpoint.
        endpoint_id: ``None`` for the root endpoint.
        keys: the valid signing secrets, opened.
        unusable: how many valid secrets could not be opened: wrong encryption key, or not a
            signing secret at all.
        token_rules: for dynamic webhooks.
    """

    slug: str
    endpoint_id: int | None
    keys: tuple[SigningKey, ...] = field(repr=False)
    unusable: int
    token_rules: TokenRules


def accepted_at(slug: str | None) -> Acceptance:
    """What the endpoint ``slug`` accepts now; ``None`` is the root endpoint.

    Raises:
        UnknownEndpoint: there is none, or this site disabled it.
        django.db.Error: it cannot be looked up.
    """
    if not slug:
        return _acceptance(_settings_secrets(), audiences=settings.AUDIENCES)
    is_slug = len(slug) <= MAX_SLUG_LENGTH and slug_re.fullmatch(slug)
    endpoint = rows(WebhookEndpoint).filter(slug=slug).first() if is_slug else None
    if endpoint is None or endpoint.slug != slug:
        raise UnknownEndpoint("unknown_endpoint", f"there is no endpoint “{slug[:100]}”")
    if endpoint.state == WebhookEndpoint.State.DISABLED:
        raise UnknownEndpoint("endpoint_disabled", f"the endpoint “{slug}” is disabled here")
    return _acceptance(_stored_secrets(endpoint), audiences=endpoint.audiences, endpoint=endpoint)


def keys_elsewhere(slug: str, limit: int = 200) -> list[tuple[str, SigningKey]]:
    """``(label, key)`` of secrets at other addresses, to tell an operator of a mix-up."""
    secrets = _valid(rows(SigningSecret).exclude(endpoint__slug=slug))
    found = [
        (f"endpoint “{secret.endpoint.slug}”", key)
        for secret in secrets.select_related("endpoint")[:limit]
        if (key := _opened(secret)) is not None
    ]
    if slug:
        found += [("the root endpoint", key) for key in _settings_secrets() if key is not None]
    return found


def _acceptance(
    keys: Iterator[SigningKey | None],
    *,
    audiences: object,
    endpoint: WebhookEndpoint | None = None,
) -> Acceptance:
    found = list(keys)
    usable = tuple(key for key in found if key is not None)
    return Acceptance(
        slug=endpoint.slug if endpoint else "",
        endpoint_id=endpoint.pk if endpoint else None,
        keys=usable,
        unusable=len(found) - len(usable),
        token_rules=TokenRules(
            audiences=_strings(audiences),
            issuers=_strings(settings.ISSUERS),
            tolerance_seconds=settings.TOLERANCE_SECONDS,
            max_age_seconds=settings.MAX_TOKEN_AGE_SECONDS,
        ),
    )


def _settings_secrets() -> Iterator[SigningKey | None]:
    for text in settings.SIGNING_SECRETS:
        try:
            yield SigningKey(key=parse_secret(text), hint=secret_hint(text))
        except ConfigurationError:
            yield None


def _stored_secrets(endpoint: WebhookEndpoint) -> Iterator[SigningKey | None]:
    for secret in _valid(rows(SigningSecret).filter(endpoint=endpoint)):
        yield _opened(secret)


def _valid(secrets: QuerySet[SigningSecret]) -> QuerySet[SigningSecret]:
    unexpired = Q(expires_at=None) | Q(expires_at__gt=clock.now())
    return secrets.filter(unexpired, revoked_at=None)


def _opened(secret: SigningSecret) -> SigningKey | None:
    try:
        key = parse_secret(ciphers.decrypt(secret.ciphertext))
    except ConfigurationError:
        return None
    return SigningKey(key=key, hint=secret.hint, secret_id=secret.pk)


def _strings(values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple | set | frozenset):
        return ()
    return tuple(value for value in values if isinstance(value, str))
