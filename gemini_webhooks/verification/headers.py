"""The three ``webhook-*`` headers of Standard Webhooks 1.0.0."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gemini_webhooks.exceptions import Malformed
from gemini_webhooks.storable import storable_text
from gemini_webhooks.verification.types import IncomingRequest

MAX_SIGNATURE_LENGTH = 16 * 1024

#: Nothing in these is secret. The signature is left out: a dynamic one is a bearer token.
SAFE_HEADERS = ("content-length", "content-type", "user-agent", "webhook-id", "webhook-timestamp")
MAX_HEADER_LENGTH = 300
#: All that is read of a request.
READ_HEADERS = frozenset({*SAFE_HEADERS, "webhook-signature"})

WEBHOOK_ID = re.compile(r"[!-~]{1,255}")
# Canonical, so that the number and the text that was signed are the same thing.
TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,11}")
# The last part may be empty: the unsigned token is a token too, and is refused as one.
TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class SignedHeaders:
    """The headers, well-formed and fresh, but not yet believed.

    Attributes:
        webhook_id: the idempotency key, 1 to 255 visible ASCII characters.
        timestamp: Unix seconds of this attempt; ``str(timestamp)`` is the text that was sent.
        signature: a list of ``v1,<base64>`` entries, or a token.
    """

    webhook_id: str
    timestamp: int
    signature: str = field(repr=False)

    @property
    def is_token(self) -> bool:
        """Whether the webhook is dynamic: signed with a token instead of a shared secret."""
        return "," not in self.signature and TOKEN.fullmatch(self.signature) is not None


def read_headers(request: IncomingRequest, *, tolerance_seconds: int) -> SignedHeaders:
    """Read the headers and check that the attempt is recent.

    Args:
        request: what came.
        tolerance_seconds: how far ``webhook-timestamp`` may be off, either side.

    Raises:
        Malformed: codes ``missing_header``, ``malformed_header``, ``timestamp_out_of_tolerance``.
    """
    webhook_id = _header(request, "webhook-id")
    timestamp = _header(request, "webhook-timestamp")
    signature = _header(request, "webhook-signature")
    if not WEBHOOK_ID.fullmatch(webhook_id):
        raise Malformed("malformed_header", "webhook-id is not 1 to 255 visible ASCII characters")
    if not TIMESTAMP.fullmatch(timestamp):
        raise Malformed("malformed_header", "webhook-timestamp is not a number of Unix seconds")
    if len(signature) > MAX_SIGNATURE_LENGTH:
        raise Malformed(
            "malformed_header", f"webhook-signature has more than {MAX_SIGNATURE_LENGTH} characters"
        )
    headers = SignedHeaders(webhook_id=webhook_id, timestamp=int(timestamp), signature=signature)
    if "," not in signature and not headers.is_token:
        raise Malformed(
            "malformed_header", "webhook-signature is neither a list of signatures nor a token"
        )
    _check_age(int(request.received_at.timestamp()) - headers.timestamp, tolerance_seconds)
    return headers


def safe_headers(request: IncomingRequest) -> dict[str, str]:
    """The headers that may be stored and shown; nothing vouches for what they say."""
    return {
        name: storable_text(request.headers[name], MAX_HEADER_LENGTH)
        for name in SAFE_HEADERS
        if name in request.headers
    }


def _header(request: IncomingRequest, name: str) -> str:
    value = request.headers.get(name)
    if not value:
        raise Malformed("missing_header", f"the header {name} is missing")
    return value


def _check_age(seconds: int, tolerance: int) -> None:
    if seconds > tolerance:
        raise Malformed("timestamp_out_of_tolerance", f"timestamp is {seconds} s old")
    if seconds < -tolerance:
        raise Malformed(
            "timestamp_out_of_tolerance",
            f"timestamp is {-seconds} s ahead of this server's clock",
        )
