"""Changes an endpoint here and at Google.

Google comes first: if it refuses, nothing has changed; if we fail afterwards, the same call again
mends it, and a sync shows the difference until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError

from gemini_webhooks import gateway
from gemini_webhooks.deliveries import alias
from gemini_webhooks.exceptions import GatewayError, RegistrationError
from gemini_webhooks.models import WebhookEndpoint

State = WebhookEndpoint.State


def update(
    endpoint: WebhookEndpoint,
    *,
    name: str | None = None,
    uri: str | None = None,
    subscribed_events: Sequence[str] | None = None,
) -> None:
    """Change what is given, here and at Google.

    Raises:
        RegistrationError: a value is not valid, or Google refused; nothing has changed.
    """
    given = {"name": name, "uri": uri, "subscribed_events": subscribed_events}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    if not changes:
        return
    _validate(endpoint, changes)
    with _google("did not change the webhook"):
        gateway.update_webhook(**_remote(endpoint), **changes)
    _save(endpoint, **changes)


def disable(endpoint: WebhookEndpoint) -> None:
    """Stop deliveries to ``endpoint``: Google sends none, and what still comes is refused.

    Raises:
        RegistrationError: Google refused; nothing has changed.
    """
    with _google("did not disable the webhook"):
        gateway.update_webhook(**_remote(endpoint), state=State.DISABLED.value)
    _save(endpoint, state=State.DISABLED)


def enable(endpoint: WebhookEndpoint) -> None:
    """Take up deliveries again, whoever had stopped them.

    Raises:
        RegistrationError: Google refused; nothing has changed.
    """
    with _google("did not enable the webhook"):
        gateway.update_webhook(**_remote(endpoint), state=State.ENABLED.value)
    _save(endpoint, state=State.ENABLED)


def delete(endpoint: WebhookEndpoint) -> None:
    """Remove ``endpoint`` at Google and here, with its secrets; its deliveries stay.

    One that Google does not know any more is removed here all the same.

    Raises:
        RegistrationError: Google refused; nothing has changed.
    """
    if endpoint.remote_id:
        with _google("did not remove the webhook", unless=404):
            gateway.delete_webhook(**_remote(endpoint))
    endpoint.delete(using=alias())


def ping(endpoint: WebhookEndpoint) -> None:
    """Have Google send a test event to ``endpoint``.

    Raises:
        RegistrationError: it is not registered, or Google refused.
    """
    with _google("did not send a ping"):
        gateway.ping_webhook(**_remote(endpoint))


def _remote(endpoint: WebhookEndpoint) -> dict[str, str]:
    if not endpoint.remote_id:
        raise RegistrationError(f"The endpoint “{endpoint.slug}” is not registered at Google.")
    return {"api_key_name": endpoint.api_key_name, "webhook_id": endpoint.remote_id}


@contextmanager
def _google(complaint: str, *, unless: int | None = None) -> Iterator[None]:
    """Turn what Google says into an error for people; pass over the status ``unless``."""
    try:
        yield
    except GatewayError as error:
        if unless is None or error.status != unless:
            raise RegistrationError(f"Google {complaint}: {error}") from error


def _validate(endpoint: WebhookEndpoint, changes: dict[str, Any]) -> None:
    candidate = WebhookEndpoint(pk=endpoint.pk, slug=endpoint.slug, **changes)
    try:
        candidate.clean_fields(
            exclude={field.name for field in candidate._meta.fields} - changes.keys()
        )
    except ValidationError as error:
        raise RegistrationError("; ".join(error.messages)) from None


def _save(endpoint: WebhookEndpoint, **changes: Any) -> None:
    for field, value in changes.items():
        setattr(endpoint, field, value)
    endpoint.save(using=alias(), update_fields=list(changes))
