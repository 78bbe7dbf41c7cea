"""Whether the public addresses answer over real HTTP, with a name, a certificate and a proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from gemini_webhooks import gateway
from gemini_webhooks.conf import settings
from gemini_webhooks.doctor import web
from gemini_webhooks.doctor.answers import explain
from gemini_webhooks.doctor.findings import Finding, failure, ok, skipped, warning
from gemini_webhooks.doctor.site import NOTHING_OPEN, Address, Site

TIMEOUT_SECONDS = 5.0


def reachable(site: Site) -> Iterator[Finding]:
    """Each public address answers as our view does.

    By GET, which the view answers with 405 and does not record.
    """
    if not settings.PUBLIC_BASE_URL:
        yield warning(
            "public address",
            "PUBLIC_BASE_URL is not set, so no endpoint can be registered and no job be given a "
            "webhook.",
            'Set GEMINI_WEBHOOKS["PUBLIC_BASE_URL"] to the site\'s public address, as '
            '"https://app.example.com".',
        )
    addresses = site.addresses()
    if not addresses:
        yield skipped("outside", NOTHING_OPEN)
    if any(not address.relay for address in addresses):
        yield from _within_reach(urlsplit(settings.PUBLIC_BASE_URL or ""))
    yield from (_relayed(address) for address in addresses if address.relay)
    public = [address for address in addresses if address.is_public]
    unreachable: set[str] = set()
    for address in public:
        name = f"outside, {address.label}"
        if address.host in unreachable:
            yield skipped(name, f"{address.host} does not answer, as above.")
            continue
        try:
            answer = web.get(address.url, timeout=TIMEOUT_SECONDS)
        except web.NoAnswer as error:
            unreachable.add(address.host)
            yield _no_answer(name, address, error)
        else:
            yield _judged(name, address, answer)


def _within_reach(base: SplitResult) -> Iterator[Finding]:
    """Google can call the public address; a local Gemini API calls any."""
    if not base.hostname or _is_local(urlsplit(gateway.base_url()).hostname or ""):
        return
    if _is_local(base.hostname):
        yield warning(
            "public address",
            f"PUBLIC_BASE_URL is {base.geturl()}: Google cannot reach that.",
            "For development, run `manage.py gemini_emulator`, or start a tunnel and write its "
            "address there: the page “Tunnels” of the documentation has the steps.",
        )


def _is_local(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def _relayed(address: Address) -> Finding:
    return warning(
        f"outside, {address.label}",
        f"Google delivers to {address.relay}, which is not this site: only the ping can tell "
        "whether that passes events on.",
        f"If no relay is meant, `manage.py gemini_webhooks update {address.slug} --uri "
        f"{address.url}` has Google deliver here.",
    )


def _no_answer(name: str, address: Address, error: web.NoAnswer) -> Finding:
    if error.is_certificate:
        return failure(name, f"{address.url}: {error.message}.", error.hint)
    return warning(
        name,
        f"{address.url} does not answer from here: {error.message}.",
        f"{error.hint} Some networks do not let a machine reach its own public address: then only "
        "the ping can tell.",
    )


def _judged(name: str, address: Address, answer: web.Answer) -> Finding:
    if answer.status == 405 and _error_code(answer.body) == "method_not_allowed":
        scheme = urlsplit(address.url).scheme
        return ok(name, f"{address.url} answers over {scheme}.")
    why = explain(answer, address.url)
    return failure(name, f"{address.url} does not lead to the view: {why.message}.", why.hint)


def _error_code(body: bytes) -> object:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document.get("error") if isinstance(document, dict) else None
