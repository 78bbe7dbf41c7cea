"""What an address accepts: the secrets and token rules of the root or a registered endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice

from django.core.validators import slug_re
from django.db.models import Q, QuerySet
from django.utils.module_loading import import_string

from gemini_webhooks import ciphers, clock, logs
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import rows
from gemini_webhooks.deliveries.statements import Select, Slot, field_of, slots
from gemini_webhooks.exceptions import ConfigurationError, UnknownEndpoint
from gemini_webhooks.models import SigningSecret, WebhookEndpoint
from gemini_webhooks.verification import SigningKey, TokenRules, parse_secret, secret_hint

logger = logs.get_logger(__name__)

MAX_SLUG_LENGTH = 100
#: What ``SECRET_BACKEND`` gives beyond is not looked at: each one is tried on each request.
MAX_BACKEND_SECRETS = 100


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What is needed to verify a request to one address.

    Attributes:
        slug: empty for the root endpoint.
        endpoint_id: ``None`` for the root endpoint.
        own: the valid signing secrets of the settings or the database, opened; ``None`` for
            each that cannot be.
        audiences: accepted ``aud`` values of tokens, as configured.
    """

    slug: str
    endpoint_id: int | None
    own: tuple[SigningKey | None, ...] = field(repr=False)
    audiences: object

    @property
    def token_rules(self) -> TokenRules:
        """For dynamic webhooks."""
        return TokenRules(
            audiences=_strings(self.audiences),
            issuers=_strings(settings.ISSUERS),
            tolerance_seconds=settings.TOLERANCE_SECONDS,
            max_age_seconds=settings.MAX_TOKEN_AGE_SECONDS,
        )

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """The valid signing secrets, opened."""
        return tuple(key for key in self._all if key is not None)

    @property
    def unusable(self) -> int:
        """How many valid secrets could not be opened.

        The encryption key is wrong, it is no signing secret at all, or ``SECRET_BACKEND`` failed.
        """
        return sum(key is None for key in self._all)

    @cached_property
    def _all(self) -> tuple[SigningKey | None, ...]:
        # Not before somebody asks for a key: a token needs none, and the backend may be slow.
        # Own ones last, as the last match counts: their use is noted.
        return (*_backend_secrets(self.slug), *self.own)


def accepted_at(slug: str | None) -> Acceptance:
    """What the endpoint ``slug`` accepts now; ``None`` is the root endpoint.

    Raises:
        UnknownEndpoint: there is none, or this site disabled it.
        django.db.Error: it cannot be looked up.
    """
    if not slug:
        own = tuple(_settings_secrets())
        return Acceptance(slug="", endpoint_id=None, own=own, audiences=settings.AUDIENCES)
    is_slug = len(slug) <= MAX_SLUG_LENGTH and slug_re.fullmatch(slug)
    secrets = _valid_secrets(slug=slug, now=clock.now()) if is_slug else []
    # One that has no valid secret is found by itself.
    found = [secret.endpoint for secret in secrets] or (_by_slug(slug=slug) if is_slug else [])
    endpoint = found[0] if found else None
    if endpoint is None or endpoint.slug != slug:
        raise UnknownEndpoint("unknown_endpoint", f"there is no endpoint “{slug[:100]}”")
    if endpoint.state == WebhookEndpoint.State.DISABLED:
        raise UnknownEndpoint("endpoint_disabled", f"the endpoint “{slug}” is disabled here")
    return Acceptance(
        slug=slug,
        endpoint_id=endpoint.pk,
        # The newest last, as the last match counts: in the grace of a rotation Google signs with
        # both, and what the old one alone has signed is to be told from that.
        own=tuple(map(_opened, sorted(secrets, key=lambda one: (one.created_at, one.pk)))),
        audiences=endpoint.audiences,
    )


def keys_elsewhere(slug: str, limit: int = 200) -> list[tuple[str, SigningKey]]:
    """``(label, key)`` of secrets at other addresses, to tell an operator of a mix-up.

    ``SECRET_BACKEND`` is not asked: it would be once for every address.
    """
    secrets = valid_now(rows(SigningSecret).exclude(endpoint__slug=slug))
    found = [
        (f"endpoint “{secret.endpoint.slug}”", key)
        for secret in secrets.select_related("endpoint")[:limit]
        if (key := _opened(secret)) is not None
    ]
    if slug:
        found += [("the root endpoint", key) for key in _settings_secrets() if key is not None]
    return found


def valid_now(secrets: QuerySet[SigningSecret]) -> QuerySet[SigningSecret]:
    """Those of ``secrets`` that have neither expired nor been revoked."""
    return secrets.filter(_is_valid(clock.now()))


def _is_valid(now: object) -> Q:
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))


_by_slug = Select(lambda: rows(WebhookEndpoint).filter(**slots(WebhookEndpoint, "slug")))
_valid_secrets = Select(
    lambda: (
        rows(SigningSecret)
        .select_related("endpoint")
        .filter(
            _is_valid(Slot("now", field_of(SigningSecret, "expires_at"))),
            endpoint__slug=Slot("slug", field_of(WebhookEndpoint, "slug")),
        )
    )
)


def opened(secret: SigningSecret) -> SigningKey:
    """Decrypt a stored secret.

    Raises:
        ConfigurationError: no key opens it, or it is no signing secret; says what to do.
    """
    key = parse_secret(ciphers.decrypt_again(secret.ciphertext))
    return SigningKey(key=key, hint=secret.hint, secret_id=secret.pk)


def _settings_secrets() -> Iterator[SigningKey | None]:
    return map(_parsed, settings.SIGNING_SECRETS)


def _backend_secrets(slug: str) -> list[SigningKey | None]:
    """What the site's own store gives; a failure counts as one secret that cannot be read."""
    if settings.SECRET_BACKEND is None:
        return []
    try:
        given: Iterable[object] = import_string(settings.SECRET_BACKEND)(slug)
        keys = [_parsed(text) for text in islice(given, MAX_BACKEND_SECRETS)]
    except Exception as error:  # noqa: BLE001  # the site's own code; other secrets still hold
        problem, keys = type(error).__name__, [None]
    else:
        problem = "not all it gave are signing secrets" if None in keys else ""
    if problem:
        # Neither the text nor the traceback of an error: they may quote a secret.
        logger.error("SECRET_BACKEND failed for the slug “%s”: %s", slug, problem)
    return keys


def _parsed(text: object) -> SigningKey | None:
    return _parsed_text(text) if isinstance(text, str) else None


@lru_cache(maxsize=256)
def _parsed_text(text: str) -> SigningKey | None:
    """Which secrets are valid is looked up for each request; what one says does not change."""
    try:
        return SigningKey(key=parse_secret(text), hint=secret_hint(text))
    except ConfigurationError:
        return None


def _opened(secret: SigningSecret) -> SigningKey | None:
    try:
        return opened(secret)
    except ConfigurationError:
        return None


def _strings(values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple | set | frozenset):
        return ()
    return tuple(value for value in values if isinstance(value, str))
