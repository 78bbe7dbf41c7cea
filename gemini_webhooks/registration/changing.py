"""Changes an endpoint here and at Google.

Google comes first: if it refuses, nothing has changed; if its answer is lost or we fail afterwards,
the same call again mends it, and a sync shows the difference until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db import Error as DatabaseTrouble

from gemini_webhooks import clock, gateway, logs
from gemini_webhooks.deliveries import alias
from gemini_webhooks.exceptions import (
    ConfigurationError,
    GatewayError,
    KeyRefused,
    RegistrationError,
)
from gemini_webhooks.models import WebhookEndpoint
from gemini_webhooks.registration import leftovers
from gemini_webhooks.registration.creating import distinct
from gemini_webhooks.storable import is_storable

logger = logs.get_logger(__name__)

State = WebhookEndpoint.State
#: What only this site knows, so that Google is not asked.
OURS = {"audiences"}


def update(
    endpoint: WebhookEndpoint,
    *,
    name: str | None = None,
    uri: str | None = None,
    subscribed_events: Sequence[str] | None = None,
    audiences: Sequence[str] | None = None,
) -> None:
    """Change what is given, here and at Google.

    Args:
        endpoint: a registered one, unless only its audiences are to change.
        name: for people.
        uri: where Google is to deliver.
        subscribed_events: all of them, not only new ones.
        audiences: accepted ``aud`` values of dynamic webhooks; these are kept here alone.

    Raises:
        RegistrationError: a value is not valid, or Google refused, and nothing has changed; or
            the message says what has.
    """
    given = {
        "name": name,
        "uri": uri,
        "subscribed_events": subscribed_events,
        "audiences": None if audiences is None else distinct(audiences),
    }
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    if not changes:
        return
    _validate(endpoint, changes)
    if for_google := {field: changes[field] for field in changes if field not in OURS}:
        with _google("did not change the webhook"):
            gateway.update_webhook(**_remote(endpoint), **for_google)
    with _written_down("Google has changed it, but it" if for_google else "It"):
        _save(endpoint, **changes)


def disable(endpoint: WebhookEndpoint) -> None:
    """Stop deliveries to ``endpoint``: Google sends none, and what still comes is refused.

    Raises:
        KeyRefused: Google could not be told; here it is disabled all the same.
        RegistrationError: Google refused, and nothing has changed; or the message says what has.
    """
    try:
        with _google("did not disable the webhook"):
            gateway.update_webhook(**_remote(endpoint), state=State.DISABLED.value)
    except (ConfigurationError, RegistrationError) as error:
        if not _lost_its_key(error):
            raise
        # A leaked secret is a reason to disable; that must not wait for a new key.
        with _written_down("Google could not be told, and that it is disabled"):
            _switch(endpoint, State.DISABLED)
        raise KeyRefused(
            "Disabled here: what comes is refused. Google could not be told "
            f"({str(error).rstrip('.')}): it goes on sending until the API key is mended and the "
            "endpoint disabled once more, or the webhook is deleted there."
        ) from error
    with _written_down("Google has disabled it, but that"):
        _switch(endpoint, State.DISABLED)


def enable(endpoint: WebhookEndpoint) -> None:
    """Take up deliveries again, whoever had stopped them.

    Raises:
        RegistrationError: Google refused, and nothing has changed; or the message says what has.
    """
    with _google("did not enable the webhook"):
        gateway.update_webhook(**_remote(endpoint), state=State.ENABLED.value)
    with _written_down("Google has enabled it, but that"):
        _switch(endpoint, State.ENABLED)


def delete(endpoint: WebhookEndpoint, *, only_here: bool = False) -> None:
    """Remove ``endpoint`` at Google and here, with its secrets; its deliveries stay.

    One that Google does not know any more is removed here all the same. For one that has no id
    of Google's, what its creation may have left there is looked for.

    Args:
        endpoint: which.
        only_here: leave the webhook at Google as it is, for an API key that is gone.

    Raises:
        KeyRefused: Google could not be told, and nothing has changed.
        RegistrationError: Google refused, and nothing has changed; or the message says what has.
    """
    if not only_here:
        _delete_there(endpoint)
    told = endpoint.remote_id and not only_here
    with _written_down("Google has removed it, but that" if told else "That"):
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
        raise RegistrationError(
            f"The endpoint “{endpoint.slug}” is not registered at Google. Delete it and create it "
            "again, or compare with Google (sync), which takes over a webhook at its address."
        )
    return {"api_key_name": endpoint.api_key_name, "webhook_id": endpoint.remote_id}


def _delete_there(endpoint: WebhookEndpoint) -> None:
    try:
        with _google("did not remove the webhook", unless=404):
            if endpoint.remote_id:
                gateway.delete_webhook(**_remote(endpoint))
            elif endpoint.uri:
                _remove_leftovers(endpoint)
    except (ConfigurationError, RegistrationError) as error:
        if not _lost_its_key(error):
            raise
        raise KeyRefused(
            f"{_closed(str(error))} Mend the API key and delete it again; or remove it here only: "
            "at Google it stays until you delete it there."
        ) from error


def _remove_leftovers(endpoint: WebhookEndpoint) -> None:
    try:
        left = leftovers.clear(endpoint, since=clock.aware(endpoint.created_at))
    except ConfigurationError as error:
        # Without a key nothing can have been made there, as far as this site can tell.
        logger.warning("not looked for webhooks of endpoint %s: %s", endpoint.slug, error)
        return
    except DatabaseTrouble as error:
        raise RegistrationError(
            f"What Google has could not be compared ({type(error).__name__}), and nothing has "
            "changed: do it again."
        ) from None
    if left:
        raise RegistrationError(
            f"Google has the webhook {', '.join(left)} at this address and does not say since "
            "when. Compare with Google (sync) to take it over, then delete it."
        )


@contextmanager
def _google(complaint: str, *, unless: int | None = None) -> Iterator[None]:
    """Turn what Google says into an error for people; pass over the status ``unless``."""
    try:
        yield
    except GatewayError as error:
        if error.status == unless and unless is not None:
            return
        advice = (
            " If only its answer was lost, it has done so: do the same again, which does no harm."
            if leftovers.may_be_done(error)
            else ""
        )
        raise RegistrationError(f"Google {complaint}: {_closed(str(error))}{advice}") from error


@contextmanager
def _written_down(subject: str) -> Iterator[None]:
    """Turn a failure of our database into an error for people."""
    try:
        yield
    except DatabaseTrouble as error:
        raise RegistrationError(
            f"{subject} could not be written down here ({type(error).__name__}): do the same again."
        ) from None


def _lost_its_key(error: Exception) -> bool:
    """Whether no call with this API key can succeed, as far as ``error`` tells."""
    refusal = error.__cause__
    if not isinstance(refusal, GatewayError):
        return isinstance(error, ConfigurationError)
    # Google answers 400 for a key that was deleted or has expired, and names the key.
    return refusal.status in (401, 403) or (
        refusal.status == 400 and "api key" in str(refusal).lower()
    )


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _validate(endpoint: WebhookEndpoint, changes: dict[str, Any]) -> None:
    for field, value in changes.items():
        if not is_storable(value):
            raise RegistrationError(
                f"The value for “{field}” is not valid text: it holds a NUL "
                "character or half of a surrogate pair."
            )
    candidate = WebhookEndpoint(pk=endpoint.pk, slug=endpoint.slug, **changes)
    try:
        candidate.clean_fields(
            exclude={field.name for field in candidate._meta.fields} - changes.keys()
        )
    except ValidationError as error:
        raise RegistrationError("; ".join(error.messages)) from None


def _switch(endpoint: WebhookEndpoint, state: WebhookEndpoint.State) -> None:
    since = {} if endpoint.state == state else {"state_changed_at": clock.now()}
    _save(endpoint, state=state, **since)


def _save(endpoint: WebhookEndpoint, **changes: Any) -> None:
    before = {field: getattr(endpoint, field) for field in changes}
    try:
        _set(endpoint, changes)
        endpoint.save(using=alias(), update_fields=list(changes))
    except DatabaseTrouble:
        _set(endpoint, before)
        raise


def _set(endpoint: WebhookEndpoint, values: dict[str, Any]) -> None:
    for field, value in values.items():
        setattr(endpoint, field, value)
