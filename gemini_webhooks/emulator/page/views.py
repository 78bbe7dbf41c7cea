"""What the page shows."""

from __future__ import annotations

import secrets

from django.http import HttpResponse, HttpResponseRedirect

from gemini_webhooks.emulator import cli, words
from gemini_webhooks.emulator.dispatch import Call, view
from gemini_webhooks.emulator.errors import not_found
from gemini_webhooks.emulator.messages import Posted
from gemini_webhooks.emulator.page.rendering import HERE, page
from gemini_webhooks.emulator.page.rows import badge, key_of, listed
from gemini_webhooks.emulator.page.tries import pretty, tries_of

ASSETS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
#: A page that is open while the emulator starts anew has seen nothing of this one.
PROCESS = secrets.token_hex(4)


def redirect(call: Call) -> HttpResponse:  # noqa: ARG001  # as handlers are
    """Lead to the page, wherever the URLs are included."""
    return HttpResponseRedirect("emulator/")


def show(call: Call) -> HttpResponse:
    """All of the page."""
    # Before anything else is read: what changes meanwhile is then seen the next time.
    seen = _seen(call)
    asks_for_key = call.emulator.options.api_key is not None
    base = call.base_url() + call.request.path.removesuffix("/emulator/")
    return page(
        "page.html",
        base=base,
        key="YOUR_KEY" if asks_for_key else cli.KEY,
        asks_for_key=asks_for_key,
        listed=listed(call.emulator),
        seen=seen,
        switches=call.emulator.switches.as_json(),
        words=words.MEANINGS.items(),
    )


def show_live(call: Call) -> HttpResponse:
    """What has changed since the script looked last; 204 if nothing has."""
    seen = _seen(call)
    if call.request.GET.get("since") == seen:
        return HttpResponse(status=204)
    return page("live.html", listed=listed(call.emulator), seen=seen)


def show_message(call: Call) -> HttpResponse:
    """Every try of one message, as a part for the script or as a page of its own."""
    message = find(call, call.request.GET.get("key", ""))
    return page(
        "message_part.html" if call.request.GET.get("part") else "message.html",
        key=key_of(message),
        message=message,
        state=badge(message.state),
        body=pretty(message.body),
        tries=tries_of(message),
        forgotten=message.count - len(message.tries),
    )


def show_asset(call: Call, name: str) -> HttpResponse:  # noqa: ARG001  # as handlers are
    """A file of the page."""
    if name not in ASSETS:
        raise not_found("The file")
    data = (HERE / "static" / name).read_bytes()
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return HttpResponse(data, content_type=ASSETS[name], headers=headers)


def find(call: Call, key: str) -> Posted:
    """The message with this key, or a 404."""
    for message in reversed(call.emulator.outbox.messages):
        if key_of(message) == key:
            return message
    raise not_found("The event")


def _seen(call: Call) -> str:
    return f"{PROCESS}-{call.emulator.version}"


root = view(public=True, spared=True, GET=redirect)
home = view(public=True, spared=True, GET=show)
live = view(public=True, spared=True, GET=show_live)
message = view(public=True, spared=True, GET=show_message)
asset = view(public=True, spared=True, GET=show_asset)
