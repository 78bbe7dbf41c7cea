"""Compares our endpoints with what Google has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.utils.text import slugify

from gemini_webhooks import clock, gateway
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.exceptions import GatewayError, RegistrationError
from gemini_webhooks.gateway import RemoteWebhook
from gemini_webhooks.models import WebhookEndpoint

State = WebhookEndpoint.State
#: Google's doing, so we follow; what we disabled ourselves stays disabled.
GOOGLES_OWN = {State.ENABLED, State.DISABLED_BY_GOOGLE}


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One difference between an endpoint here and at Google."""

    slug: str
    field: str
    here: str
    there: str


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """What :func:`sync` found.

    Attributes:
        compared: how many endpoints are known on both sides.
        adopted: slugs of those that only Google had; they have no secret until a rotation.
        missing: slugs of those that Google does not have any more.
        switched_off: slugs of those that Google disabled after failed deliveries.
        drift: other differences.
    """

    compared: int
    adopted: Sequence[str] = field(default=())
    missing: Sequence[str] = field(default=())
    switched_off: Sequence[str] = field(default=())
    drift: Sequence[Drift] = field(default=())


def sync(api_key_name: str = "default") -> SyncReport:
    """Compare with Google in one listing; adopt what is unknown, follow Google's own state.

    Nothing is changed at Google.

    Args:
        api_key_name: the project to look at, one of ``API_KEYS``.

    Raises:
        RegistrationError: Google refused, or this is no name of an API key.
    """
    if api_key_name not in settings.API_KEYS:
        raise RegistrationError(f"There is no API key “{api_key_name}” in API_KEYS.")
    try:
        remote = {one.id: one for one in gateway.list_webhooks(api_key_name=api_key_name)}
    except GatewayError as error:
        raise RegistrationError(f"Google did not list the webhooks: {error}") from error
    local = rows(WebhookEndpoint).filter(api_key_name=api_key_name).exclude(remote_id="")
    known = {endpoint.remote_id: endpoint for endpoint in local}
    both = [(known[key], remote[key]) for key in known if key in remote]
    for endpoint, there in both:
        _follow(endpoint, there)
    adopted = [_adopt(remote[key], api_key_name) for key in remote if key not in known]
    return SyncReport(
        compared=len(both),
        adopted=[endpoint.slug for endpoint in adopted],
        missing=[known[key].slug for key in known if key not in remote],
        switched_off=[
            endpoint.slug
            for endpoint in [*(endpoint for endpoint, _ in both), *adopted]
            if endpoint.state == State.DISABLED_BY_GOOGLE
        ],
        drift=[drift for endpoint, there in both for drift in _drift(endpoint, there)],
    )


def _follow(endpoint: WebhookEndpoint, there: RemoteWebhook) -> None:
    endpoint.last_synced_at = clock.now()
    if endpoint.state in GOOGLES_OWN and there.state in GOOGLES_OWN:
        endpoint.state = there.state
    endpoint.save(using=alias(), update_fields=["last_synced_at", "state"])


def _drift(endpoint: WebhookEndpoint, there: RemoteWebhook) -> list[Drift]:
    here_events = ", ".join(sorted(endpoint.subscribed_events))
    pairs = {
        "name": (endpoint.name, there.name),
        "uri": (endpoint.uri, there.uri),
        "subscribed_events": (here_events, ", ".join(sorted(there.subscribed_events))),
        "state": (str(endpoint.state), there.state),
    }
    return [
        Drift(slug=endpoint.slug, field=name, here=here, there=at_google)
        for name, (here, at_google) in pairs.items()
        if here != at_google
    ]


def _adopt(there: RemoteWebhook, api_key_name: str) -> WebhookEndpoint:
    state = there.state if there.state in set(State) else State.DISABLED
    return rows(WebhookEndpoint).create(
        slug=_free_slug(there),
        name=there.name[:200],
        uri=there.uri[:500],
        remote_id=there.id,
        subscribed_events=list(there.subscribed_events),
        state=state,
        api_key_name=api_key_name,
        last_synced_at=clock.now(),
    )


def _free_slug(there: RemoteWebhook) -> str:
    """The last part of its address, as that is where its deliveries come in; else its id."""
    last = urlsplit(there.uri).path.rstrip("/").rpartition("/")[2]
    wanted = last if re.fullmatch(r"[-\w]{1,90}", last, re.ASCII) else slugify(there.id)[:90]
    taken = set(rows(WebhookEndpoint).values_list("slug", flat=True))
    candidates = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(slug for slug in candidates if slug not in taken)
