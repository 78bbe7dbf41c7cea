"""What the checks look at: the site's endpoints and their addresses, read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.urls import get_script_prefix, reverse

from gemini_webhooks import jobs
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import rows
from gemini_webhooks.endpoints import accepted_at
from gemini_webhooks.exceptions import GeminiWebhooksError, RegistrationError
from gemini_webhooks.models import WebhookEndpoint

#: What a check says that has no address to look at.
NOTHING_OPEN = "There is nothing to look at: no open address is known."


class Unreadable(GeminiWebhooksError):
    """The endpoints cannot be read from the database."""


class NoAddresses(GeminiWebhooksError):
    """The URLconf has no addresses of ours, or cannot be loaded."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is to be examined.

    Attributes:
        endpoint: slug of the only endpoint to look at; ``None``: all, and the root address.
        ping: whether to send test events.
        timeout: how long to wait for them to arrive, in seconds.
    """

    endpoint: str | None = None
    ping: bool = True
    timeout: float = 20.0


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where events come in.

    Attributes:
        label: for people.
        slug: empty for the root address.
        url: absolute.
        is_public: whether this is what Google is told; otherwise the host is a guess.
        relay: host of the service that Google is told instead, and passes on what comes; or empty.
    """

    label: str
    slug: str
    url: str
    is_public: bool
    relay: str = ""

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        """The path, as the site's URLconf has it, with its slash."""
        return f"{urlsplit(self.url).path.rstrip('/')}/"


class Site:
    """The site under examination.

    Args:
        scope: what of it.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @cached_property
    def endpoints(self) -> tuple[WebhookEndpoint, ...]:
        """The registered endpoints, within the scope.

        Raises:
            Unreadable: the database does not answer, or has no such table.
            RegistrationError: there is no endpoint with the slug that was asked for.
        """
        wanted = self.scope.endpoint
        try:
            every = rows(WebhookEndpoint)
            found = tuple(every.all() if wanted is None else every.filter(slug=wanted))
        except Exception as error:  # noqa: BLE001  # without a database, or with half of one
            raise Unreadable(f"the endpoints cannot be read: {type(error).__name__}") from None
        if wanted is not None and not found:
            raise RegistrationError(f"There is no endpoint “{wanted}”.")
        return found

    @cached_property
    def open_endpoints(self) -> tuple[WebhookEndpoint, ...]:
        """Those that accept events: all but the ones that this site disabled. Raises as above."""
        disabled = WebhookEndpoint.State.DISABLED
        return tuple(endpoint for endpoint in self.endpoints if endpoint.state != disabled)

    @cached_property
    def uses_root(self) -> bool:
        """Whether the root address matters: it accepts something, or there is no other."""
        if self.scope.endpoint is not None:
            return False
        accepted = accepted_at(None)
        if accepted.keys or accepted.unusable or accepted.token_rules.audiences:
            return True
        try:
            return not self.endpoints
        except Unreadable:
            return True

    @property
    def accepts_tokens(self) -> bool:
        """Whether dynamic webhooks are accepted anywhere."""
        try:
            somewhere = any(endpoint.audiences for endpoint in self.open_endpoints)
        except Unreadable:
            somewhere = False
        return bool(self.scope.endpoint is None and settings.AUDIENCES) or somewhere

    def addresses(self) -> list[Address]:
        """The addresses to look at: those of open endpoints, and the root address if it is used.

        Raises:
            NoAddresses: there are none.
        """
        try:
            endpoints = self.open_endpoints
        except Unreadable:
            endpoints = ()
        try:
            found = [_root()] if self.uses_root else []
            return found + [_address(endpoint) for endpoint in endpoints]
        except Exception as error:  # noqa: BLE001  # a URLconf runs the site's code
            raise NoAddresses(f"there are no addresses: {type(error).__name__}") from None


def in_urlconf(path: str) -> str:
    """``path`` without the prefix under which the server has mounted the site."""
    prefix = get_script_prefix().rstrip("/")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def _root() -> Address:
    return _made("root", "", reverse("gemini_webhooks:receive"), "")


def _address(endpoint: WebhookEndpoint) -> Address:
    path = reverse("gemini_webhooks:receive-endpoint", kwargs={"slug": endpoint.slug})
    return _made(f"endpoint “{endpoint.slug}”", endpoint.slug, path, endpoint.uri)


def _made(label: str, slug: str, path: str, registered: str) -> Address:
    relay = _relay(registered, path)
    registered = "" if relay else registered
    is_public = bool(registered or settings.PUBLIC_BASE_URL)
    url = registered or (
        jobs.public_uri(slug) if is_public else f"https://{_some_allowed_host()}{path}"
    )
    return Address(label=label, slug=slug, url=url, is_public=is_public and not relay, relay=relay)


def _relay(registered: str, path: str) -> str:
    """The host that Google delivers to, if neither it nor the path there is this site's."""
    there, base = urlsplit(registered), urlsplit(settings.PUBLIC_BASE_URL or "")
    is_ours = there.netloc == base.netloc or there.path.rstrip("/") == path.rstrip("/")
    return "" if not base.netloc or is_ours else there.netloc


def _some_allowed_host() -> str:
    names = (name.lstrip(".") for name in django_settings.ALLOWED_HOSTS)
    return next((name for name in names if name and name != "*"), "localhost")
