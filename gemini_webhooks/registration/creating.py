"""Registers a new endpoint at Google."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.db import Error as DatabaseTrouble
from django.db import IntegrityError, transaction

from gemini_webhooks import clock, gateway, jobs, logs
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.exceptions import ConfigurationError, GatewayError, RegistrationError
from gemini_webhooks.gateway import RemoteWebhook
from gemini_webhooks.models import WebhookEndpoint
from gemini_webhooks.registration import leftovers, secrets
from gemini_webhooks.storable import is_storable

logger = logs.get_logger(__name__)


def create(
    slug: str,
    *,
    name: str = "",
    subscribed_events: Sequence[str] = tuple(CATALOGUE),
    api_key_name: str = "default",
    audiences: Sequence[str] = (),
    uri: str | None = None,
) -> WebhookEndpoint:
    """Register a webhook at Google and keep its signing secret, encrypted.

    The local row comes first, so that a slug is taken before Google hears of it. If a later
    step fails, both sides are cleared again; a webhook whose answer was lost is looked for.

    Args:
        slug: the last part of the address; must be free.
        name: for people; the slug by default.
        subscribed_events: types of the catalogue.
        api_key_name: which of ``API_KEYS`` registers it.
        audiences: accepted ``aud`` values of dynamic webhooks at this address.
        uri: the address, if it is not the one that ``PUBLIC_BASE_URL`` gives.

    Raises:
        RegistrationError: it was not registered; nothing is left on either side, or the
            message says what is and what to do.
        ConfigurationError: ``PUBLIC_BASE_URL`` or the API key is missing.
    """
    endpoint = WebhookEndpoint(
        slug=slug,
        name=name or slug,
        subscribed_events=list(subscribed_events),
        api_key_name=api_key_name,
        audiences=distinct(audiences),
        uri=uri or "",
    )
    if not is_storable([slug, endpoint.name, endpoint.uri, *subscribed_events, *audiences]):
        raise RegistrationError(
            "One of the values is not valid text: it holds a NUL character or half of a "
            "surrogate pair."
        )
    try:
        endpoint.clean_fields()
    except ValidationError as error:
        raise RegistrationError("; ".join(error.messages)) from None
    endpoint.uri = uri or jobs.public_uri(slug)
    _take_slug(endpoint)
    started = datetime.now(UTC)
    try:
        remote = gateway.create_webhook(
            api_key_name=api_key_name,
            name=endpoint.name,
            uri=endpoint.uri,
            subscribed_events=list(subscribed_events),
        )
    except ConfigurationError:
        _forget(endpoint)
        raise
    except GatewayError as error:
        raise _refused(endpoint, error, started) from error
    try:
        _adopt(endpoint, remote)
    except Exception as error:  # noqa: BLE001  # a site's own signal receivers may raise anything
        raise _undone(endpoint, remote, error, started) from None
    _clear_doubles(endpoint, started)
    return endpoint


def distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, without empty ones and the space around it."""
    return list(dict.fromkeys(filter(None, (text.strip() for text in texts))))


def _take_slug(endpoint: WebhookEndpoint) -> None:
    try:
        # Durable: Google is called next, and a rollback would not undo that.
        with transaction.atomic(using=alias(), durable=True):
            endpoint.save(using=alias(), force_insert=True)
    except IntegrityError:
        raise RegistrationError(
            f"There is an endpoint “{endpoint.slug}” already; choose another slug."
        ) from None
    except DatabaseTrouble as error:
        raise RegistrationError(
            f"The endpoint could not be stored here ({type(error).__name__}), and nothing was "
            "sent to Google: do it again."
        ) from None


def _adopt(endpoint: WebhookEndpoint, remote: RemoteWebhook) -> None:
    secret = remote.new_signing_secret
    if not secret:
        raise ConfigurationError("Google sent no signing secret")
    using = alias()
    now = clock.now()
    with transaction.atomic(using=using):
        secrets.store(endpoint, secret)
        endpoint.remote_id = remote.id
        endpoint.last_synced_at = endpoint.state_changed_at = now
        endpoint.save(
            using=using, update_fields=["remote_id", "last_synced_at", "state_changed_at"]
        )


def _refused(
    endpoint: WebhookEndpoint, error: GatewayError, started: datetime
) -> RegistrationError:
    """Clear up after Google's refusal, which need not be one; return what to raise."""
    complaint = f"Google did not register the webhook: {error}"
    try:
        doubtful = leftovers.clear(endpoint, since=started)
    except (GatewayError, ConfigurationError, DatabaseTrouble) as trouble:
        if leftovers.may_be_done(error):
            return _left(endpoint, complaint, because=trouble)
        doubtful = []
    if doubtful:
        return _left(endpoint, complaint, ids=doubtful)
    _forget(endpoint, complaint)
    return RegistrationError(complaint)


def _undone(
    endpoint: WebhookEndpoint, remote: RemoteWebhook, error: Exception, started: datetime
) -> RegistrationError:
    """Remove the webhook whose secret could not be stored; return what to raise."""
    complaint = f"The signing secret could not be stored ({type(error).__name__})"
    try:
        leftovers.remove(endpoint, remote.id)
    except (GatewayError, ConfigurationError) as trouble:
        endpoint.remote_id = remote.id
        return _left(endpoint, complaint, because=trouble, ids=[remote.id])
    _clear_doubles(endpoint, started)
    complaint += ", so the webhook was removed again at Google."
    _forget(endpoint, complaint)
    return RegistrationError(complaint)


def _forget(endpoint: WebhookEndpoint, complaint: str = "Nothing was sent to Google.") -> None:
    """Remove the row of an endpoint that Google does not have."""
    try:
        endpoint.delete(using=alias())
    except DatabaseTrouble as error:
        raise RegistrationError(
            f"{complaint} The endpoint “{endpoint.slug}” is left here, as it could not be "
            f"removed ({type(error).__name__}): delete it, then do it again."
        ) from None


def _left(
    endpoint: WebhookEndpoint,
    complaint: str,
    *,
    because: Exception | None = None,
    ids: Sequence[str] = (),
) -> RegistrationError:
    """Keep the row, as the only trace of what may be left at Google; return what to raise."""
    what = f"the webhook {', '.join(ids)}" if ids else f"a webhook for {endpoint.uri}"
    why = f" ({_in_short(because)})" if because else ""
    logger.error("%s may be left at Google%s", what, why)
    # Switched off, with a time: it is not under way any more.
    endpoint.state = WebhookEndpoint.State.DISABLED
    endpoint.state_changed_at = clock.now()
    try:
        rows(WebhookEndpoint).filter(pk=endpoint.pk).update(
            state=endpoint.state,
            state_changed_at=endpoint.state_changed_at,
            remote_id=endpoint.remote_id,
        )
    except DatabaseTrouble as error:
        # It counts as under way for a while; then all holds that the message says.
        logger.error(  # noqa: TRY400  # a database error's text may quote the row
            "endpoint %s not marked: %s", endpoint.slug, type(error).__name__
        )
    return RegistrationError(
        f"{complaint.rstrip('.')}. Google may have {what} nevertheless, which could not be "
        f"removed{why}. So the endpoint “{endpoint.slug}” stays here, disabled: delete it, which "
        "looks for that webhook again, then create it anew; or compare with Google (sync), which "
        "takes the webhook over."
    )


def _clear_doubles(endpoint: WebhookEndpoint, started: datetime) -> None:
    """Remove what the SDK's own second try may have made twice."""
    try:
        leftovers.clear(endpoint, since=started)
    except (GatewayError, ConfigurationError, DatabaseTrouble) as error:
        logger.warning(
            "not looked for a double of webhook %s at Google: %s",
            endpoint.remote_id,
            _in_short(error),
        )


def _in_short(error: Exception | None) -> str:
    """Google's words; of a database error the kind only, as its text may quote the row."""
    return type(error).__name__ if isinstance(error, DatabaseTrouble) else str(error)
