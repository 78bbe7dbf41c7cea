"""What the claims of a token vouch for, beyond the sender: the event, the body, the webhook id.

All bindings that the claims hold are checked; the strongest one is reported.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any

from gemini_webhooks.exceptions import Unauthorised
from gemini_webhooks.verification.types import Binding

#: Fields of the event envelope that a token may carry among its other claims.
EVENT_CLAIMS = ("type", "version", "timestamp", "data", "user_metadata")
#: Fields of the body that a token with an event need not repeat.
UNVOUCHED_FIELDS = frozenset({"version", "timestamp"})

# Names of claims are compared without case, hyphens and underscores.
#: ``body_sha256``, ``payload-hash``, ``bodyDigest`` and so on: SHA-256, hex or base64.
DIGEST_CLAIMS = frozenset(
    what + how
    for what in ("body", "payload", "requestbody")
    for how in ("sha256", "hash", "digest")
)
WEBHOOK_ID_CLAIM = "webhookid"

DIGEST_PREFIX = re.compile(r"sha-?256[=:]", re.IGNORECASE)
HEX_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
BASE64_DIGEST = re.compile(r"[A-Za-z0-9+/_-]{43}=?")


def check(claims: Mapping[str, Any], webhook_id: str, body: bytes) -> tuple[Binding, bytes]:
    """Compare the request with what the claims say about it.

    Returns:
        The strongest binding, and the body: the event of the claims if the body is empty.

    Raises:
        Unauthorised: codes ``webhook_id_mismatch``, ``body_mismatch``, ``malformed_token``.
    """
    binding: Binding = "unbound"
    for name, value in claims.items():
        plain_name = name.lower().replace("-", "").replace("_", "")
        if plain_name == WEBHOOK_ID_CLAIM:
            _check_webhook_id(value, webhook_id)
            binding = "webhook_id" if binding == "unbound" else binding
        elif plain_name in DIGEST_CLAIMS:
            _check_digest(value, body)
            binding = "body"
    events = _claimed_events(claims)
    try:
        for event in events:
            body = body or json.dumps(event).encode()
            _check_event(event, body)
    except RecursionError:
        raise _body_mismatch("the body is nested too deeply to be compared") from None
    return ("event" if events else binding), body


def _check_webhook_id(claimed: object, webhook_id: str) -> None:
    if claimed != webhook_id:
        raise Unauthorised(
            "webhook_id_mismatch", "the token was made for another webhook-id than the header's"
        )


def _check_digest(claimed: object, body: bytes) -> None:
    if not hmac.compare_digest(_digest(claimed), hashlib.sha256(body).digest()):
        raise _body_mismatch("the body has another digest than the token's")


def _digest(claimed: object) -> bytes:
    text = DIGEST_PREFIX.sub("", claimed, count=1) if isinstance(claimed, str) else ""
    if HEX_DIGEST.fullmatch(text):
        return bytes.fromhex(text)
    if BASE64_DIGEST.fullmatch(text):
        return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_")[:43] + "=")
    raise Unauthorised("malformed_token", "the token's digest of the body cannot be read")


def _claimed_events(claims: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events in the claims, at their top level and in the claim ``event``."""
    top_level = {name: claims[name] for name in EVENT_CLAIMS if name in claims}
    return [
        event
        for event in (top_level, claims.get("event"))
        if isinstance(event, dict) and {"type", "data"} <= event.keys()
    ]


def _check_event(event: Mapping[str, Any], body: bytes) -> None:
    try:
        sent = json.loads(body.decode())
    except ValueError:
        sent = None
    if not isinstance(sent, dict):
        raise _body_mismatch("the token carries an event, but the body is not a JSON object")
    unvouched = sent.keys() - event.keys() - UNVOUCHED_FIELDS
    if unvouched or not all(name in sent and _same(event[name], sent[name]) for name in event):
        raise _body_mismatch("the body is not the event that the token carries")


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; unlike in Python, ``true`` is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _body_mismatch(diagnosis: str) -> Unauthorised:
    return Unauthorised("body_mismatch", diagnosis)
