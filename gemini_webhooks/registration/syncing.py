"""Compares our endpoints with what Google has."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.db import Error as DatabaseTrouble
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from gemini_webhooks import clock, gateway
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.exceptions import GatewayError, GeminiWebhooksError, RegistrationError
from gemini_webhooks.gateway import RemoteWebhook
from gemini_webhooks.models import WebhookEndpoint
from gemini_webhooks.registration.failures import Failures, failures
from gemini_webhooks.registration.leftovers import CREATION
from gemini_webhooks.storable import strings_in

State = WebhookEndpoint.State
#: Google's doing, so we follow; what we disabled ourselves stays disabled.
GOOGLES_OWN = {State.ENABLED, State.DISABLED_BY_GOOGLE}
AGAIN = "delete it and add it again"


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
        unregistered: slugs of those that Google never had, or whose creation broke off.
        switched_off: slugs of those that Google disabled after failed deliveries.
        failures: since when and why, for each of ``switched_off``.
        drift: other differences.
    """

    compared: int
    adopted: Sequence[str] = field(default=())
    missing: Sequence[str] = field(default=())
    unregistered: Sequence[str] = field(default=())
    switched_off: Sequence[str] = field(default=())
    failures: Sequence[Failures] = field(default=())
    drift: Sequence[Drift] = field(default=())

    @property
    def differs(self) -> bool:
        """Whether there is something that somebody has to decide."""
        return bool(self.missing or self.unregistered or self.switched_off or self.drift)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One project of :func:`sync_all`: either ``report`` or ``error``."""

    api_key_name: str
    report: SyncReport | None = None
    error: str = ""

    def troubles(self) -> Iterator[tuple[int, str]]:
        """Yield what somebody has to look at: a level of :mod:`logging`, and a line."""
        if self.report is None:
            why = f"endpoints of API key {self.api_key_name} not compared: {self.error}"
            yield logging.WARNING, why
            return
        for failure in self.report.failures:
            yield logging.ERROR, f"Google switched off endpoint {failure.slug} {failure.in_words}"
        for slug in self.report.missing:
            yield logging.ERROR, f"Google does not have endpoint {slug} any more: {AGAIN}"
        for slug in self.report.unregistered:
            yield logging.ERROR, f"endpoint {slug} was never registered: {AGAIN}"
        for drift in self.report.drift:
            yield logging.WARNING, f"endpoint {drift.slug} differs at Google: {drift.field}"


def sync(api_key_name: str = "default", *, dry_run: bool = False) -> SyncReport:
    """Compare with Google in one listing; adopt what is unknown, follow Google's own state.

    Nothing is changed at Google.

    Args:
        api_key_name: the project to look at, one of ``API_KEYS``.
        dry_run: change nothing here either, and report what would be.

    Raises:
        RegistrationError: Google refused, this is no name of an API key, or the outcome could
            not be written down.
        ConfigurationError: the API key is empty, or the extra is not installed.
    """
    if api_key_name not in settings.API_KEYS:
        raise RegistrationError(f"There is no API key “{api_key_name}” in API_KEYS.")
    try:
        remote = {one.id: one for one in gateway.list_webhooks(api_key_name=api_key_name)}
    except GatewayError as error:
        raise RegistrationError(f"Google did not list the webhooks: {error}") from error
    try:
        return _compare(remote, api_key_name, dry_run=dry_run)
    except DatabaseTrouble as error:
        raise RegistrationError(
            f"The comparison could not be finished here ({type(error).__name__}): do it again."
        ) from None


def sync_all(*, dry_run: bool = False) -> list[Compared]:
    """:func:`sync` for every API key, and for those that endpoints name in vain.

    Raises:
        django.db.Error: the endpoints cannot be read.
    """
    names = [name for name, key in settings.API_KEYS.items() if key]
    used = rows(WebhookEndpoint).exclude(remote_id="").order_by("api_key_name")
    orphaned = set(used.values_list("api_key_name", flat=True)) - set(names)
    found = []
    for name in [*names, *sorted(orphaned)]:
        try:
            found.append(Compared(api_key_name=name, report=sync(name, dry_run=dry_run)))
        except GeminiWebhooksError as error:
            found.append(Compared(api_key_name=name, error=str(error)))
    return found


def _compare(remote: dict[str, RemoteWebhook], api_key_name: str, *, dry_run: bool) -> SyncReport:
    registered = list(rows(WebhookEndpoint).exclude(remote_id=""))
    known = {one.remote_id: one for one in registered if one.api_key_name == api_key_name}
    both = [(known[key], remote[key]) for key in known if key in remote]
    for endpoint, there in both:
        _follow(endpoint, there, dry_run=dry_run)
    # Under whatever key: two keys may be of one project.
    ids = {one.remote_id for one in registered}
    unknown = [there for key, there in remote.items() if key not in ids]
    adopted = _adopt_all(unknown, api_key_name, dry_run=dry_run)
    off = [
        endpoint
        for endpoint in [*(endpoint for endpoint, _ in both), *adopted]
        if endpoint.state == State.DISABLED_BY_GOOGLE
    ]
    return SyncReport(
        compared=len(both),
        adopted=[endpoint.slug for endpoint in adopted],
        missing=[known[key].slug for key in known if key not in remote],
        unregistered=_unregistered(api_key_name, but={endpoint.slug for endpoint in adopted}),
        switched_off=[endpoint.slug for endpoint in off],
        failures=[failures(endpoint) for endpoint in off],
        drift=[drift for endpoint, there in both for drift in _drift(endpoint, there)],
    )


def _follow(endpoint: WebhookEndpoint, there: RemoteWebhook, *, dry_run: bool) -> None:
    changes: dict[str, Any] = {"last_synced_at": clock.now()}
    if endpoint.state in GOOGLES_OWN and there.state in GOOGLES_OWN:
        unknown_since = there.state == State.DISABLED_BY_GOOGLE and not endpoint.state_changed_at
        if endpoint.state != there.state or unknown_since:
            changes |= {"state": there.state, "state_changed_at": _since(there)}
    for name, value in changes.items():
        setattr(endpoint, name, value)
    if not dry_run:
        # Not save(): somebody may delete it meanwhile.
        rows(WebhookEndpoint).filter(pk=endpoint.pk).update(**changes)


def _since(there: RemoteWebhook) -> datetime:
    """When its state changed: the last change of a webhook that Google switched off was that."""
    if there.state == State.DISABLED_BY_GOOGLE and there.update_time:
        return clock.for_database(there.update_time)
    return clock.now()


def _drift(endpoint: WebhookEndpoint, there: RemoteWebhook) -> list[Drift]:
    here_events = ", ".join(sorted(strings_in(endpoint.subscribed_events)))
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


def _adopt_all(
    unknown: Iterable[RemoteWebhook], api_key_name: str, *, dry_run: bool
) -> list[WebhookEndpoint]:
    """Endpoints for webhooks that only Google has; one that a creation left gets its webhook."""
    # Some databases take slugs that differ in case for the same.
    taken = {slug.lower() for slug in rows(WebhookEndpoint).values_list("slug", flat=True)}
    bare = rows(WebhookEndpoint).filter(remote_id="", api_key_name=api_key_name).exclude(uri="")
    waiting = {endpoint.uri: endpoint for endpoint in bare}
    adopted = []
    for there in unknown:
        if (created := waiting.get(there.uri)) and _is_being_created(created):
            continue
        endpoint = waiting.pop(there.uri, None) or WebhookEndpoint(
            slug=_free_slug(there, taken), uri=there.uri[:500], api_key_name=api_key_name
        )
        taken.add(endpoint.slug.lower())
        _fill(endpoint, there)
        if dry_run or _keep(endpoint):
            adopted.append(endpoint)
    return adopted


def _unregistered(api_key_name: str, *, but: set[str]) -> list[str]:
    """Slugs of endpoints without an id of Google's; ``but`` get theirs now, or would."""
    bare = rows(WebhookEndpoint).filter(remote_id="", api_key_name=api_key_name)
    return [one.slug for one in bare if one.slug not in but and not _is_being_created(one)]


def _is_being_created(endpoint: WebhookEndpoint) -> bool:
    """Whether a creation is about to give it its id; one that failed has set the state."""
    return endpoint.state_changed_at is None and endpoint.created_at > clock.now() - CREATION


def _fill(endpoint: WebhookEndpoint, there: RemoteWebhook) -> None:
    endpoint.name = there.name[:200]
    endpoint.remote_id = there.id
    endpoint.subscribed_events = list(there.subscribed_events)
    endpoint.state = there.state if there.state in set(State) else State.DISABLED
    endpoint.state_changed_at = _since(there)
    endpoint.last_synced_at = clock.now()


def _keep(endpoint: WebhookEndpoint) -> bool:
    """Store an adopted endpoint, unless somebody else has done so meanwhile."""
    if rows(WebhookEndpoint).filter(remote_id=endpoint.remote_id).exists():
        return False
    try:
        with transaction.atomic(using=alias()):
            endpoint.save(using=alias())
    except IntegrityError:  # both chose the same slug
        return False
    return True


def _free_slug(there: RemoteWebhook, taken: set[str]) -> str:
    """The last part of its address, as that is where its deliveries come in; else its id."""
    last = urlsplit(there.uri).path.rstrip("/").rpartition("/")[2]
    wanted = last if re.fullmatch(r"[-\w]{1,90}", last, re.ASCII) else slugify(there.id)[:90]
    candidates = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(slug for slug in candidates if slug.lower() not in taken)
