"""What can be asked of the emulator itself about deliveries: switches, and signatures on demand."""

from __future__ import annotations

import time
from typing import Any

from gemini_webhooks.emulator.dispatch import Call, view
from gemini_webhooks.emulator.errors import invalid
from gemini_webhooks.emulator.options import TOKENS
from gemini_webhooks.emulator.tokens import claims
from gemini_webhooks.exceptions import ConfigurationError


def show_switches(call: Call) -> dict[str, Any]:
    """All switches: name, value, help, choices."""
    return {"switches": call.emulator.switches.as_json()}


def change_switches(call: Call) -> dict[str, Any]:
    """Set those that the body names; 400 if one makes no sense, and then none is set."""
    try:
        call.emulator.switches.change(call.json())
    except ConfigurationError as error:
        raise invalid(f"{error}.") from None
    return show_switches(call)


def sign(call: Call) -> dict[str, Any]:
    """The headers with which the body would be delivered to a dynamic webhook."""
    given = call.json()
    webhook_id, audience, body = (_text(given, name) for name in ("webhook_id", "audience", "body"))
    if not (webhook_id.isascii() and webhook_id.isprintable()):
        raise invalid("webhook_id must be ASCII without line breaks.")
    timestamp = given.get("timestamp", int(time.time()))
    if not isinstance(timestamp, int) or isinstance(timestamp, bool):
        raise invalid("timestamp must be a whole number of Unix seconds.")
    token = given.get("token", call.emulator.options.token)
    if token not in TOKENS:
        raise invalid(f"token must be one of {', '.join(TOKENS)}.")
    try:
        said = claims(
            token,
            audience=audience,
            timestamp=timestamp,
            webhook_id=webhook_id,
            body=body.encode(),
        )
        signature = call.emulator.signer.token(said)
    except (ValueError, RecursionError):
        raise invalid("body must be a JSON object, for a token that vouches for it.") from None
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }
    return {"headers": headers}


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"{name} must be text, and not empty.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(f"{name} has half a surrogate pair.") from None
    return value


switches = view(public=True, spared=True, GET=show_switches, POST=change_switches)
signing = view(public=True, spared=True, POST=sign)
