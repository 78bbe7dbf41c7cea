"""What concerns Google: the clock, the API keys, the registered webhooks, the key set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gemini_webhooks import gateway, registration
from gemini_webhooks.conf import settings
from gemini_webhooks.doctor import web
from gemini_webhooks.doctor.findings import Finding, failure, ok, skipped, warning
from gemini_webhooks.doctor.site import Site, Unreadable
from gemini_webhooks.exceptions import ConfigurationError, GatewayError, RegistrationError
from gemini_webhooks.verification.jwks import MIN_KEY_BITS

TIMEOUT_SECONDS = 5.0
WARN_SECONDS = 30.0
SET_THE_CLOCK = "Synchronise this machine's clock (NTP: chrony or systemd-timesyncd)."


def clock(site: Site) -> Iterator[Finding]:
    """This machine's clock agrees with the API's, as timestamps are compared with it."""
    del site
    url = gateway.base_url()
    before = time.time()
    try:
        answer = web.get(url, timeout=TIMEOUT_SECONDS)
    except web.NoAnswer as error:
        yield warning(
            "clock",
            f"The Gemini API at {url} does not answer: {error.message}.",
            "Let this machine reach it over https, if need be through a proxy (HTTPS_PROXY).",
        )
        return
    here = (before + time.time()) / 2
    try:
        # The header has whole seconds: on average half of one is cut off.
        there = parsedate_to_datetime(answer.date).timestamp() + 0.5
    except ValueError:
        yield skipped("clock", f"The Gemini API at {url} does not say what time it is.")
        return
    ahead = here - there
    said = f"This machine's clock is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) > settings.TOLERANCE_SECONDS / 2:
        yield failure(
            "clock",
            f"{said}; beyond {settings.TOLERANCE_SECONDS} s (TOLERANCE_SECONDS) every event is "
            "refused.",
            SET_THE_CLOCK,
        )
    elif abs(ahead) > WARN_SECONDS:
        yield warning("clock", f"{said}.", SET_THE_CLOCK)
    else:
        yield ok("clock", "This machine's clock agrees with the Gemini API's.")


def api_keys(site: Site) -> Iterator[Finding]:
    """Each API key has a value and is accepted."""
    used = _used_keys(site)
    for name in dict.fromkeys([*settings.API_KEYS, *sorted(used)]):
        if site.scope.endpoint is None or name in used:
            yield _api_key(name, is_used=name in used)


def drift(site: Site) -> Iterator[Finding]:
    """What Google has is what we have."""
    names = {endpoint.api_key_name for endpoint in site.endpoints}
    if site.scope.endpoint is None:
        names |= {name for name, key in settings.API_KEYS.items() if key}
    if not names:
        yield skipped("drift", "There is nothing to compare: no endpoint and no API key.")
    only = site.scope.endpoint
    for name in sorted(names):
        title = f"drift, API key “{name}”"
        try:
            report = registration.sync(name, dry_run=True)
        except (RegistrationError, ConfigurationError):
            yield skipped(title, "Google could not be asked.", "See “API key”.")
            continue
        differing = list(_differences(title, report, only))
        yield from differing
        if not differing:
            yield ok(
                title,
                f"Google has what is here ({report.compared} "
                f"endpoint{'s'[: report.compared != 1]} compared).",
            )


def key_set(site: Site) -> Iterator[Finding]:
    """The keys of dynamic webhooks can be fetched."""
    if not site.accepts_tokens:
        yield skipped("key set", "Not needed: no audiences, so no dynamic webhooks are accepted.")
        return
    url = settings.JWKS_URL
    try:
        answer = web.get(url, timeout=settings.JWKS_TIMEOUT_SECONDS)
    except web.NoAnswer as error:
        yield failure(
            "key set",
            f"{url} does not answer: {error.message}.",
            "Dynamic webhooks get 503 until it does. Let the web servers reach it over https.",
        )
        return
    count = _rsa_keys(answer.body) if answer.status == 200 else 0
    if count:
        yield ok("key set", f"{url} holds {count} RSA key{'s'[: count > 1]}.")
    else:
        yield failure(
            "key set",
            f"{url} holds no RSA signature key (status {answer.status}).",
            'Leave GEMINI_WEBHOOKS["JWKS_URL"] out to use Google\'s.',
        )


def _used_keys(site: Site) -> set[str]:
    try:
        return {endpoint.api_key_name for endpoint in site.endpoints}
    except Unreadable:
        return set()


def _api_key(name: str, *, is_used: bool) -> Finding:
    title = f"API key “{name}”"
    report = failure if is_used else warning
    if not settings.API_KEYS.get(name):
        return report(
            title,
            "It has no value.",
            "Set the environment variable GEMINI_API_KEY."
            if name == "default"
            else f'Set GEMINI_WEBHOOKS["API_KEYS"]["{name}"], or remove the name.',
        )
    try:
        count = len(gateway.list_webhooks(api_key_name=name))
    except ConfigurationError as error:
        return report(title, f"It cannot be used: {error}.", "Install the extra.")
    except GatewayError as error:
        return failure(title, f"Google did not list its webhooks: {error}", _key_hint(error))
    return ok(title, f"Google accepts it; its project has {count} webhook{'s'[: count != 1]}.")


def _key_hint(error: GatewayError) -> str:
    if error.status in (400, 401, 403):
        return "Make a new key in Google AI Studio, or lift its restrictions, and set it here."
    if error.status == 429:
        return "The project's quota is used up: wait, or raise it."
    if error.status is None:
        return "Let this machine reach the Gemini API over https."
    return "Trouble on Google's side: try again later."


def _differences(
    title: str, report: registration.SyncReport, only: str | None
) -> Iterator[Finding]:
    for slug in report.missing:
        if only in (None, slug):
            yield failure(
                title,
                f"Google does not have the webhook of “{slug}” any more, and delivers nothing.",
                f"`manage.py gemini_webhooks delete {slug}`, then `create {slug}`.",
            )
    for slug in report.unregistered:
        if only in (None, slug):
            yield failure(
                title,
                f"“{slug}” was never registered at Google, or its creation broke off: Google "
                "delivers nothing to it.",
                f"`manage.py gemini_webhooks delete {slug}`, then `create {slug}`; or `sync`, "
                "which takes over a webhook at its address.",
            )
    for slug in report.switched_off:
        if only in (None, slug):
            yield failure(
                title,
                f"Google switched “{slug}” off, as its deliveries failed.",
                "Mend what the rejected requests in the admin show, then "
                f"`manage.py gemini_webhooks update {slug} --enable`.",
            )
    for one in report.drift:
        if only in (None, one.slug) and one.slug not in report.switched_off:
            yield warning(
                title,
                f"“{one.slug}”: {one.field} is {one.here} here, {one.there} at Google.",
                f"`manage.py gemini_webhooks update {one.slug}` with the right value sets both.",
            )
    for slug in report.adopted if only is None else ():
        yield warning(
            title,
            f"Google has a webhook “{slug}” that this site does not know.",
            f"`manage.py gemini_webhooks sync` takes it over, then `rotate {slug}` gets a secret.",
        )


def _rsa_keys(body: bytes) -> int:
    try:
        keys = jwt.PyJWKSet.from_json(body.decode()).keys
    except (jwt.PyJWTError, ValueError, RecursionError, AttributeError, TypeError):
        return 0
    return sum(
        bool(key.key_id) and isinstance(key.key, RSAPublicKey) and key.key.key_size >= MIN_KEY_BITS
        for key in keys
    )
