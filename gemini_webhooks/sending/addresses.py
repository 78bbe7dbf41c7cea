"""Where an event goes if nobody says so, and whether others can reach that."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

from django.urls import NoReverseMatch, reverse

from gemini_webhooks import jobs
from gemini_webhooks.conf import settings
from gemini_webhooks.exceptions import ConfigurationError

#: Where ``manage.py runserver`` listens.
LOCAL = "http://127.0.0.1:8000"
#: Names that no public server has (RFC 2606, RFC 6761, RFC 6762, and ICANN for ``internal``).
PRIVATE_NAMES = (".localhost", ".local", ".test", ".internal")


def address_of(slug: str) -> str:
    """The address of an endpoint on ``PUBLIC_BASE_URL``; without that, on :data:`LOCAL`.

    Args:
        slug: empty is the root endpoint.

    Raises:
        ConfigurationError: the URLs are not included, or ``PUBLIC_BASE_URL`` is no address.
    """
    if settings.PUBLIC_BASE_URL:
        return jobs.public_uri(slug)
    try:
        if slug:
            path = reverse("gemini_webhooks:receive-endpoint", kwargs={"slug": slug})
        else:
            path = reverse("gemini_webhooks:receive")
    except NoReverseMatch:
        raise ConfigurationError(
            'This site has no address for webhooks: include "gemini_webhooks.urls" in its '
            "URLconf, or say with --url where to send to."
        ) from None
    return urljoin(LOCAL, path)


def is_public(url: str) -> bool:
    """Whether the host of ``url`` may be somebody else's, or seen by others; no name is looked up.

    Loopback and private addresses are not, nor names without a dot, such as those of containers.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(PRIVATE_NAMES)
