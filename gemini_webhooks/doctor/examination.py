"""Runs the checks, one by one: what breaks one of them does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from django.conf import settings as django_settings

from gemini_webhooks.conf import SETTING
from gemini_webhooks.doctor import (
    beside,
    database,
    gemini,
    inside,
    outside,
    paused,
    pinging,
    receiving,
    storing,
    urls,
    workers,
)
from gemini_webhooks.doctor.findings import Finding, failure, skipped
from gemini_webhooks.doctor.site import NoAddresses, Scope, Site, Unreadable

Check = Callable[[Site], Iterator[Finding]]

#: In the order of an event's way, what others rest on first.
CHECKS: Mapping[str, Check] = {
    "emulator": beside.emulator,
    "database": database.database,
    "endpoints": database.disabled,
    "secrets": database.secrets,
    "urls": urls.included,
    "inside": inside.arrives,
    "outside": outside.reachable,
    "clock": gemini.clock,
    "api keys": gemini.api_keys,
    "drift": gemini.drift,
    "key set": gemini.key_set,
    "receivers": receiving.receivers,
    "broker": workers.broker,
    "beat": workers.beat,
    "backlog": workers.backlog,
    "paused": paused.paused,
    "results": storing.storage,
    "buckets": storing.buckets,
    "ping": pinging.pings,
}


def examine(scope: Scope) -> Iterator[Finding]:
    """Yield what is found, as it is found.

    Args:
        scope: what to look at.

    Raises:
        RegistrationError: there is no endpoint with the slug that the scope names.
    """
    site = Site(scope)
    if scope.endpoint is not None:
        with suppress(Unreadable):
            _ = site.endpoints
    yield from _findings("settings", urls.settings_are_sound, site)
    if not isinstance(getattr(django_settings, SETTING, {}), Mapping):
        yield skipped("everything else", f"{SETTING} cannot be read.")
        return
    for name, check in CHECKS.items():
        yield from _findings(name, check, site)


def _findings(name: str, check: Check, site: Site) -> Iterator[Finding]:
    try:
        yield from check(site)
    except Unreadable as error:
        yield skipped(name, f"Not looked at: {error}.", "See “database”.")
    except NoAddresses as error:
        yield skipped(name, f"Not looked at: {error}.", "See “urls”.")
    except Exception as error:  # noqa: BLE001  # whatever is broken, the others go on
        yield failure(
            name,
            f"This check itself broke off: {type(error).__name__}.",
            "Mend what failed before it. If nothing did, this is a bug: please report it.",
        )
