"""Who may change anything from a browser: the emulator's own page, and no other."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from django.http import HttpRequest

from gemini_webhooks.emulator.errors import ApiError
from gemini_webhooks.emulator.state import ENVIRON_KEY

REFUSED = "Another web page may not do this: use the emulator's own page."


def refuse_other_sites(request: HttpRequest) -> None:
    """Let in the emulator's own page, and whatever is no browser.

    Any page may post text to an address of this machine, and the API key is no obstacle to it. A
    name that somebody else's DNS may lead here (rebinding) makes a page no page of ours.

    Raises:
        ApiError: 403.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    host = request.META.get("HTTP_HOST", "")
    if site not in ("same-origin", "none") or origin not in (None, f"{request.scheme}://{host}"):
        raise ApiError(403, REFUSED)
    if origin is not None and not _is_ours(request, urlsplit(origin).hostname or ""):
        raise ApiError(403, f"{REFUSED} Open it at an IP address or at localhost.")


def _is_ours(request: HttpRequest, name: str) -> bool:
    if ENVIRON_KEY not in request.META:
        # In a site's URLconf the site says which names are its own.
        return bool(request.get_host())
    if name in ("localhost", request.META.get("SERVER_NAME")) or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
