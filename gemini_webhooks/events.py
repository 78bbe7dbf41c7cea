"""Events: what a verified delivery says, as frozen values. The set of types is open.

Field names and the catalogue follow Google's webhooks guide and the samples around it, which
disagree in places; where they do, every reading is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from gemini_webhooks import signals
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.verification.types import VerifiedRequest

JobState = Literal["succeeded", "failed", "cancelled", "expired", "requires_action"]


class Unreadable(GeminiWebhooksError):
    """A verified body is not JSON, or is nested too deeply to be read."""


@dataclass(frozen=True, kw_only=True)
class EventType:
    """One line of Google's event catalogue.

    Attributes:
        name: as in the ``type`` field of the envelope.
        signal: fires for it.
        job_state: what it says about the job.
        inline_result: without an output field, the answers are in the resource itself.
    """

    name: str
    signal: signals.EventSignal
    job_state: JobState
    inline_result: bool = False


CATALOGUE: Mapping[str, EventType] = MappingProxyType(
    {
        known.name: known
        for known in (
            EventType(
                name="batch.succeeded",
                signal=signals.batch_succeeded,
                job_state="succeeded",
                inline_result=True,
            ),
            EventType(name="batch.failed", signal=signals.batch_failed, job_state="failed"),
            EventType(
                name="batch.cancelled", signal=signals.batch_cancelled, job_state="cancelled"
            ),
            EventType(name="batch.expired", signal=signals.batch_expired, job_state="expired"),
            EventType(
                name="interaction.requires_action",
                signal=signals.interaction_requires_action,
                job_state="requires_action",
            ),
            EventType(
                name="interaction.completed",
                signal=signals.interaction_completed,
                job_state="succeeded",
            ),
            EventType(
                name="interaction.failed", signal=signals.interaction_failed, job_state="failed"
            ),
            EventType(
                name="interaction.cancelled",
                signal=signals.interaction_cancelled,
                job_state="cancelled",
            ),
            EventType(
                name="video.generated", signal=signals.video_generated, job_state="succeeded"
            ),
        )
    }
)

#: Some of Google's own samples call ``batch.succeeded`` so.
ALIASES: Mapping[str, str] = MappingProxyType({"batch.completed": "batch.succeeded"})

OUTPUT_FIELDS = ("output_file_uri", "video_uri", "output_uri", "file_name", "file_id")


@dataclass(frozen=True, kw_only=True)
class Event:
    """What Google says happened.

    Attributes:
        id: the webhook id; the same on every retry.
        type: for example ``batch.succeeded``; an alias is given by its proper name; empty
            where the body names no type.
        occurred_at: aware UTC time of the event (not of its delivery), if the body has one.
        resource_id: the job's id (``data.id``), or empty.
        user_metadata: for dynamic webhooks what the seal says, otherwise as sent.
        data: ``data`` of the envelope, all of it, as sent.
        output_uri: where the output is, whichever field named it: ``gs://…``, ``files/…`` or
            a URL.
        error_code: of a failed job, as text.
        error_message: of a failed job.
        is_replay: somebody asked for this run again.
    """

    id: str
    type: str
    occurred_at: datetime | None = None
    resource_id: str = ""
    user_metadata: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    output_uri: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    is_replay: bool = False

    @property
    def known(self) -> EventType | None:
        """The catalogue's entry; ``None`` for a type that this version does not know."""
        return CATALOGUE.get(self.type)

    @property
    def result_source(self) -> str | None:
        """Where the result file is to be fetched from; ``None`` if there is none."""
        if self.output_uri:
            is_bare_file_id = "/" not in self.output_uri and ":" not in self.output_uri
            return f"files/{self.output_uri}" if is_bare_file_id else self.output_uri
        if self.known and self.known.inline_result and self.resource_id:
            return f"batches/{self.resource_id.removeprefix('batches/')}"
        return None


def parse(verified: VerifiedRequest, *, is_replay: bool = False) -> Event:
    """Read the event out of a request whose signature holds.

    Raises:
        Unreadable: the body is not JSON, or nested too deeply.
    """
    payload = _load(verified.body)
    envelope = payload if isinstance(payload, dict) else {}
    data = envelope["data"] if isinstance(envelope.get("data"), dict) else {}
    metadata = verified.sealed_metadata
    if metadata is None:
        metadata = _metadata(envelope)
    sent_type = _text(envelope.get("type")) or ""
    return Event(
        id=verified.webhook_id,
        type=ALIASES.get(sent_type, sent_type),
        occurred_at=_moment(envelope.get("timestamp")),
        resource_id=_text(data.get("id")) or "",
        user_metadata=metadata,
        data=data,
        output_uri=next(filter(None, (_text(data.get(name)) for name in OUTPUT_FIELDS)), None),
        error_code=_text(data.get("error_code")),
        error_message=_text(data.get("error_message")),
        is_replay=is_replay,
    )


def _load(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Unreadable("the body is not JSON") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _metadata(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """``user_metadata`` from ``data``, then from the top level: the guide does not pin it down."""
    for holder in (envelope.get("data"), envelope):
        found = holder.get("user_metadata") if isinstance(holder, dict) else None
        if found and isinstance(found, dict):
            return dict(found)
    return {}


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    # Databases differ in the years that they can hold; none of those is an event's.
    return moment if 1970 <= moment.year <= 9000 else None
