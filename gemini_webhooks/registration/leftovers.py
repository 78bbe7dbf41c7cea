"""Removes from Google what a lost answer left there."""

from __future__ import annotations

from datetime import datetime, timedelta

from gemini_webhooks import gateway
from gemini_webhooks.deliveries import rows
from gemini_webhooks.exceptions import GatewayError
from gemini_webhooks.models import WebhookEndpoint

#: Google's clock and ours may differ by so much.
CLOCK_DIFFERENCE = timedelta(minutes=5)
#: A creation takes less; an endpoint that has had no id for longer is what one left behind.
CREATION = timedelta(minutes=5)
REQUEST_TIMEOUT = 408


def may_be_done(error: GatewayError) -> bool:
    """Whether Google may have done what it was asked, although it answered ``error``."""
    status = error.status
    return status is None or not 400 <= status < 500 or status == REQUEST_TIMEOUT


def clear(endpoint: WebhookEndpoint, *, since: datetime) -> list[str]:
    """Remove webhooks with address and name of ``endpoint`` that no endpoint here knows.

    Args:
        endpoint: whose address, name and project.
        since: aware time before which we cannot have made them.

    Returns:
        Ids of those that are left, as Google does not say when they were made.

    Raises:
        GatewayError: Google refused or did not answer.
        ConfigurationError: no such API key, or the extra is not installed.
        django.db.Error: our own endpoints cannot be read.
    """
    there = gateway.list_webhooks(api_key_name=endpoint.api_key_name)
    known = set(rows(WebhookEndpoint).exclude(remote_id="").values_list("remote_id", flat=True))
    # The name too: what somebody made by hand at the same address just now is not ours.
    ours = (endpoint.uri, endpoint.name)
    unknown = [one for one in there if (one.uri, one.name) == ours and one.id not in known]
    for webhook in unknown:
        if webhook.create_time and webhook.create_time >= since - CLOCK_DIFFERENCE:
            remove(endpoint, webhook.id)
    return [webhook.id for webhook in unknown if webhook.create_time is None]


def remove(endpoint: WebhookEndpoint, webhook_id: str) -> None:
    """Remove one webhook at Google, with a second try if the first answer is lost.

    Raises: as :func:`clear` does.
    """
    try:
        gateway.delete_webhook(api_key_name=endpoint.api_key_name, webhook_id=webhook_id)
    except GatewayError as error:
        if error.status == 404:
            return
        if not may_be_done(error):
            raise
        try:
            gateway.delete_webhook(api_key_name=endpoint.api_key_name, webhook_id=webhook_id)
        except GatewayError as again:
            if again.status != 404:
                raise
