"""What of a delivery's content may be seen, and by whom, as JSON can carry it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Literal

from gemini_webhooks import redaction
from gemini_webhooks.models import WebhookDelivery
from gemini_webhooks.storable import storable

#: Rows of result files may be nested so deeply; what is below is cut off.
MAX_DEPTH = 100


@dataclass(frozen=True, kw_only=True)
class Content:
    """Body and metadata.

    Attributes:
        metadata: ``None`` if they may not be seen.
        body: a text; ``None`` likewise.
        encoding: what kind of text.
        withheld: why there is no body; ``no`` if there is.
    """

    metadata: Any = None
    body: str | None = None
    encoding: Literal["utf-8", "base64"] | None = None
    withheld: Literal["no", "permission", "removed", "redaction"] = "no"


def seen(delivery: WebhookDelivery, *, sees_payloads: bool) -> Content:
    """The content of ``delivery``, after ``REDACT``, for somebody who may see it or may not."""
    if not sees_payloads:
        return Content(withheld="permission")
    try:
        metadata = writable(redaction.shown_metadata(delivery.user_metadata))
    except redaction.CannotRedact:
        return Content(withheld="redaction")
    if delivery.body is None:
        return Content(metadata=metadata, withheld="removed")
    try:
        body = redaction.shown_body(bytes(delivery.body))
    except redaction.CannotRedact:
        return Content(metadata=metadata, withheld="redaction")
    try:
        return Content(metadata=metadata, body=body.decode(), encoding="utf-8")
    except UnicodeDecodeError:
        return Content(metadata=metadata, body=b64encode(body).decode(), encoding="base64")


def writable(value: Any) -> Any:
    """A parsed JSON value as it can be written again: JSON has no infinity, UTF-8 no surrogates."""
    return storable(value, MAX_DEPTH)
