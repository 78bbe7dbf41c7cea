"""Registers a new endpoint at Google."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db import Error as DatabaseTrouble
from django.db import IntegrityError, transaction

from gemini_webhooks import clock, gateway, jobs
from gemini_webhooks.deliveries import alias
from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.exceptions import ConfigurationError, GatewayError, RegistrationError
from gemini_webhooks.gateway import RemoteWebhook
from gemini_webhooks.models import WebhookEndpoint
from gemini_webhooks.registration import secrets

logger = logging.getLogger(__name__)


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
    step fails, both sides are cleared again.

    Args:
        slug: the last part of the address; must be free.
        name: for people; the slug by default.
        subscribed_events: types of the catalogue.
        api_key_name: which of ``API_KEYS`` registers it.
        audiences: accepted ``aud`` values of dynamic webhooks at this address.
        uri: the address, if it is not the one that ``PUBLIC_BASE_URL`` gives.

    Raises:
        RegistrationError: it was not registered; nothing is left on either side, or the
            message says what is.
        ConfigurationError: ``PUBLIC_BASE_URL`` or the API key is missing.
    """
    endpoint = WebhookEndpoint(
        slug=slug,
        name=name or slug,
        subscribed_events=list(subscribed_events),
        api_key_name=api_key_name,
        audiences=list(audiences),
    )
    try:
        endpoint.clean_fields()
    except ValidationError as error:
        raise RegistrationError("; ".join(error.messages)) from None
    endpoint.uri = address = uri or jobs.public_uri(slug)
    try:
        # Durable: Google is called next, and a rollback would not undo that.
        with transaction.atomic(using=alias(), durable=True):
            endpoint.save(using=alias(), force_insert=True)
    except IntegrityError:
        raise RegistrationError(
            f"There is an endpoint “{slug}” already; choose another slug."
        ) from None
    try:
        remote = gateway.create_webhook(
            api_key_name=api_key_name,
            name=endpoint.name,
            uri=address,
            subscribed_events=list(subscribed_events),
        )
    except (GatewayError, ConfigurationError) as error:
        endpoint.delete()
        if isinstance(error, ConfigurationError):
            raise
        raise RegistrationError(f"Google did not register the webhook: {error}") from error
    try:
        _adopt(endpoint, remote)
    except (DatabaseTrouble, ConfigurationError) as error:
        _undo(endpoint, remote, api_key_name)
        raise RegistrationError(
            "The signing secret could not be stored, so the webhook was removed again: "
            f"{type(error).__name__}"
        ) from None
    return endpoint


def _adopt(endpoint: WebhookEndpoint, remote: RemoteWebhook) -> None:
    secret = remote.new_signing_secret
    if not secret:
        raise ConfigurationError("Google sent no signing secret")
    using = alias()
    with transaction.atomic(using=using):
        secrets.store(endpoint, secret)
        endpoint.remote_id = remote.id
        endpoint.last_synced_at = clock.now()
        endpoint.save(using=using, update_fields=["remote_id", "last_synced_at"])


def _undo(endpoint: WebhookEndpoint, remote: RemoteWebhook, api_key_name: str) -> None:
    try:
        gateway.delete_webhook(api_key_name=api_key_name, webhook_id=remote.id)
    except GatewayError as error:
        # The row stays, as the only trace of what is left at Google.
        logger.error(  # noqa: TRY400  # Google's answer says it all; the frames hold the secret
            "webhook %s is left at Google: %s", remote.id, error
        )
        raise RegistrationError(
            f"The signing secret could not be stored, and the webhook {remote.id} could not be "
            f"removed at Google ({error}): delete it there, then the endpoint here."
        ) from error
    try:
        endpoint.delete()
    except DatabaseTrouble as error:
        logger.error(  # noqa: TRY400  # a database error's text may quote the row
            "endpoint %s not removed: %s", endpoint.slug, type(error).__name__
        )
