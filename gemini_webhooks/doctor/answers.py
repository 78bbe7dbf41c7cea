"""Tells apart why something else than the webhook view answered, each with its own way out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urljoin, urlsplit

from django.conf import settings as django_settings
from django.http.request import split_domain_port, validate_host
from django.shortcuts import resolve_url

from gemini_webhooks.doctor.web import Answer

LET_IN = (
    "Let the address pass without a login, in the site and in the proxy (basic auth, allow-lists, "
    "a web application firewall)."
)
INCLUDE = (
    'Put path("webhooks/gemini/", include("gemini_webhooks.urls")) into the URLconf, have the '
    "proxy pass the path on unchanged, and let the registered address be the same."
)
OTHER = "Have the address lead to this site's webhook view: is it another site that answers?"
NO_PAGE = (
    "Or does a tunnel or proxy show a page of its own first, such as a warning? Have it let the "
    "address pass without."
)
NEW_ADDRESS = (
    "If it has another address now, write that into PUBLIC_BASE_URL and ALLOWED_HOSTS, then "
    "`manage.py gemini_webhooks update SLUG --uri …`."
)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a request did not reach the view.

    Attributes:
        message: part of a sentence.
        hint: what to do, in sentences.
    """

    message: str
    hint: str


def is_ssl_redirect(answer: Answer, url: str) -> bool:
    """Whether ``answer`` sends ``url``, or its http form, to https and nothing else."""
    if not answer.location:
        return False
    here, there = urlsplit(url), _target(answer.location, url)
    return there.scheme == "https" and (there.hostname, there.path) == (here.hostname, here.path)


def explain(answer: Answer, url: str) -> Explanation:
    """Say what ``answer`` means and what to do about it.

    Args:
        answer: one that does not come from the webhook view.
        url: what was asked for.
    """
    found = _redirect(answer, url) if answer.location else _refusal(answer, url)
    if not answer.middleware:
        return found
    return replace(found, message=f"{found.message} (by {answer.middleware})")


def _redirect(answer: Answer, url: str) -> Explanation:
    here, there = urlsplit(url), _target(answer.location, url)
    if is_ssl_redirect(answer, url):
        return _redirect_to_https(here)
    if there.path == _target(resolve_url(django_settings.LOGIN_URL), url).path:
        return Explanation(
            message="it is redirected to the login page",
            hint=f"Let {here.path} through without a login: the signature is the login. Django's "
            "own LoginRequiredMiddleware does that; another one has to be told.",
        )
    if there.path == f"{here.path}/":
        return Explanation(
            message="it is redirected to the address with a slash, which loses the POST",
            hint='Use include("gemini_webhooks.urls") as it is, which knows both forms, and exempt '
            f"{here.path} from whatever appends slashes.",
        )
    if there.hostname != here.hostname and there.path == here.path:
        return Explanation(
            message=f"it is redirected to the host {there.hostname}",
            hint=f"Write PUBLIC_BASE_URL with {there.hostname}, then update the endpoints; or "
            f"exempt {here.path} from that redirect (PREPEND_WWW, or a rule of the proxy).",
        )
    return Explanation(
        message=f"it is redirected to {there.scheme}://{there.netloc}{there.path}",
        hint=f"Google follows no redirects: exempt {here.path} from it.",
    )


def _redirect_to_https(here: SplitResult) -> Explanation:
    if here.scheme == "https":
        return Explanation(
            message="it is redirected to https, over which it came already",
            hint="SECURE_SSL_REDIRECT is on, but Django is not told that the proxy got the request "
            'over https: set SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https"), and '
            "have the proxy set that header on every request. If the proxy itself redirects, have "
            "it redirect http alone.",
        )
    return Explanation(
        message="it is redirected to https",
        hint='Write PUBLIC_BASE_URL with "https://", then update the endpoints.',
    )


def _refusal(answer: Answer, url: str) -> Explanation:
    path, host = urlsplit(url).path, urlsplit(url).netloc
    if answer.ngrok_error or answer.status == 530:
        return _tunnel_error(answer)
    if answer.status == 400 and not _is_allowed(host):
        return Explanation(
            message=f"Django refuses the host {host}",
            hint=f'Add "{split_domain_port(host)[0]}" to ALLOWED_HOSTS. Where a tunnel or proxy '
            "puts another host in its place, let it pass on this one.",
        )
    if answer.status == 403 and b"CSRF" in answer.body:
        return Explanation(
            message="a CSRF protection refuses it",
            hint="Django's own middleware lets the view pass, which is marked as exempt; have this "
            f"one let {path} pass as well.",
        )
    if answer.status >= 500:
        return _server_error(answer)
    messages = {
        401: ("it is refused with 401 before it reaches the view", LET_IN),
        403: ("it is refused with 403 before it reaches the view", LET_IN),
        404: ("nobody knows this address (404)", INCLUDE),
    }
    other = (f"something else answers, with status {answer.status}", OTHER)
    if answer.is_page:
        other = (f"{other[0]} and a web page", f"{OTHER} {NO_PAGE}")
    message, hint = messages.get(answer.status, other)
    return Explanation(message=message, hint=hint)


def _tunnel_error(answer: Answer) -> Explanation:
    if answer.ngrok_error:
        return Explanation(
            message=f"ngrok itself answers, with the error {answer.ngrok_error[:40]}",
            hint="Its documentation explains the code. Is the agent running, with this address, "
            f"and does it forward to the port of the web server? {NEW_ADDRESS}",
        )
    return Explanation(
        message="Cloudflare answers 530: no tunnel is connected to this name",
        hint=f"Start cloudflared again; a quick tunnel gets a new name each time. {NEW_ADDRESS}",
    )


def _server_error(answer: Answer) -> Explanation:
    if answer.status in (502, 503, 504):
        return Explanation(
            message=f"a proxy answers {answer.status}: the site behind it does not answer",
            hint="Start the web server, and check where the proxy or tunnel passes requests on to.",
        )
    return Explanation(
        message=f"it ends in an error {answer.status}" + (f", {answer.error}" * bool(answer.error)),
        hint="Look into the site's log for the traceback.",
    )


def _target(location: str, url: str) -> SplitResult:
    return urlsplit(urljoin(url, location))


def _is_allowed(host: str) -> bool:
    allowed = list(django_settings.ALLOWED_HOSTS)
    if django_settings.DEBUG and not allowed:
        allowed = [".localhost", "127.0.0.1", "[::1]"]
    return validate_host(split_domain_port(host)[0], allowed)
