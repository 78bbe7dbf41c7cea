"""What is delivered: bodies as Google writes them, and events without any delivery."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gemini_webhooks import events
from gemini_webhooks.events import Event
from gemini_webhooks.verification import VerifiedRequest


@dataclass(frozen=True, kw_only=True)
class Happening:
    """What Google has to tell.

    Attributes:
        event_type: for example ``batch.succeeded``.
        resource_id: the job's.
        metadata: as the job got it, or with a seal.
        output: where its output is; empty if it is not said.
        error: code and message of a failed job.
        occurred_at: aware.
        data: more fields of ``data``; they replace those above.
    """

    event_type: str
    resource_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    error: tuple[str, str] | None = None
    occurred_at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """As it is posted."""
        body = events.write(
            self.event_type,
            resource_id=self.resource_id,
            occurred_at=self.occurred_at,
            user_metadata=self.metadata,
            output=self.output,
            error=self.error,
        )
        if not self.data:
            return body
        envelope = json.loads(body)
        envelope["data"] |= self.data
        return json.dumps(envelope).encode()


def happening(
    event_type: str,
    *,
    resource_id: str | None,
    metadata: Mapping[str, Any] | None,
    output: str,
    error: tuple[str, str] | None,
    occurred_at: datetime | None,
    data: Mapping[str, Any] | None,
) -> Happening:
    """Fill in what a test does not care for: a new job, just now."""
    kind = event_type.partition(".")[0]
    return Happening(
        event_type=event_type,
        resource_id=f"{kind}_{uuid.uuid4().hex}" if resource_id is None else resource_id,
        metadata=metadata or {},
        output=output,
        error=error,
        occurred_at=occurred_at or datetime.now(UTC),
        data=data or {},
    )


def one_of(
    metadata: Mapping[str, Any] | None, user_metadata: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The metadata, whichever of its two names a test gives it.

    Raises:
        TypeError: it gives both.
    """
    if metadata is not None and user_metadata is not None:
        raise TypeError("metadata= and user_metadata= are the same: give one of them")
    return user_metadata if metadata is None else metadata


def new_id() -> str:
    """A webhook id that no other delivery has."""
    return f"msg_{uuid.uuid4().hex}"


def make_event(  # noqa: PLR0913  # each is one word in a test
    event_type: str,
    *,
    resource_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    user_metadata: Mapping[str, Any] | None = None,
    output: str = "",
    error: tuple[str, str] | None = None,
    occurred_at: datetime | None = None,
    data: Mapping[str, Any] | None = None,
    id: str | None = None,  # noqa: A002  # the name of the attribute
    is_replay: bool = False,
) -> Event:
    """Make the event that a receiver would get, to call it as a plain function.

    Nothing is stored, and no database is needed.

    Args:
        event_type: for example ``"batch.succeeded"``; any text will do.
        resource_id: the job's; by default a new one.
        metadata: becomes ``event.user_metadata``.
        user_metadata: the same, by that name.
        output: ``gs://…``, ``files/…`` or the URL of a video.
        error: code and message of a failed job.
        occurred_at: aware; by default now.
        data: more fields of ``event.data``.
        id: the webhook id; by default a new one.
        is_replay: somebody asked for it again.

    Raises:
        TypeError: JSON cannot hold it, or the metadata is given twice.
    """
    told = happening(
        event_type,
        resource_id=resource_id,
        metadata=one_of(metadata, user_metadata),
        output=output,
        error=error,
        occurred_at=occurred_at,
        data=data,
    )
    request = VerifiedRequest(webhook_id=id or new_id(), body=told.body, signing="none")
    return events.parse(request, is_replay=is_replay)
