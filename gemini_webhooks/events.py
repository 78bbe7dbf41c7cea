"""Events: what a verified delivery says, as frozen values. The set of types is open.

Field names and the catalogue follow Google's webhooks guide and the samples around it, which
disagree in places; where they do, every reading is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from gemini_webhooks import signals
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.seals import strip_seal
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

#: Ends for which Google documents no event. The reconciler names them like the others.
UNDOCUMENTED_ENDS: Mapping[str, JobState] = MappingProxyType({"video.failed": "failed"})

#: The event for a job of a kind in a state, both as :class:`gateway.RemoteJob` has them. States
#: that are not here are those of a job that still runs. An interaction that was cut short has no
#: event of its own at Google either; to a receiver it is one that did not work.
EVENT_OF_STATE: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("batch", "JOB_STATE_SUCCEEDED"): "batch.succeeded",
        ("batch", "JOB_STATE_PARTIALLY_SUCCEEDED"): "batch.succeeded",
        ("batch", "JOB_STATE_FAILED"): "batch.failed",
        ("batch", "JOB_STATE_CANCELLED"): "batch.cancelled",
        ("batch", "JOB_STATE_EXPIRED"): "batch.expired",
        ("interaction", "requires_action"): "interaction.requires_action",
        ("interaction", "completed"): "interaction.completed",
        ("interaction", "failed"): "interaction.failed",
        ("interaction", "incomplete"): "interaction.failed",
        ("interaction", "budget_exceeded"): "interaction.failed",
        ("interaction", "cancelled"): "interaction.cancelled",
        ("operation", "succeeded"): "video.generated",
        ("operation", "failed"): "video.failed",
    }
)

OUTPUT_FIELDS = ("output_file_uri", "video_uri", "output_uri", "file_name", "file_id")

#: Resource ids that are longer are none of Google's.
MAX_OCCASION_LENGTH = 300


def _never() -> bool:
    return False


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
        superseded: answers :meth:`is_stale`; given by whoever knows the other events.
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
    superseded: Callable[[], bool] = field(default=_never, repr=False, compare=False)

    def is_stale(self) -> bool:
        """Whether a newer event of the same resource is stored, at this moment.

        Newer is what happened later; of two at the same time, what came later. The answer can
        change while a receiver runs; ``latest_only`` receivers are kept from that.

        Raises:
            django.db.Error: the database did not answer.
        """
        return self.superseded()

    @property
    def known(self) -> EventType | None:
        """The catalogue's entry; ``None`` for a type that this version does not know."""
        return CATALOGUE.get(self.type)

    @property
    def job_state(self) -> JobState | None:
        """What it says about its job; ``None`` if that is not known."""
        return job_state(self.type)

    @property
    def occasion(self) -> str | None:
        """What happened to which job, the same for an event and the reconciler's find of it."""
        if not self.resource_id or self.job_state is None:
            return None
        occasion = f"{self.type} {bare_id(self.resource_id)}"
        return occasion if len(occasion) <= MAX_OCCASION_LENGTH else None

    @property
    def result_source(self) -> str | None:
        """Where the result file is to be fetched from; ``None`` if there is none."""
        if self.output_uri:
            is_bare_file_id = "/" not in self.output_uri and ":" not in self.output_uri
            return f"files/{self.output_uri}" if is_bare_file_id else self.output_uri
        if self.known and self.known.inline_result and self.resource_id:
            return f"batches/{self.resource_id.removeprefix('batches/')}"
        return None


def job_state(event_type: str) -> JobState | None:
    """What an event of this type says about its job; ``None`` if that is not known."""
    known = CATALOGUE.get(event_type)
    return known.job_state if known else UNDOCUMENTED_ENDS.get(event_type)


def bare_id(name: str) -> str:
    """A resource id without the ``batches/`` or ``operations/`` that some put before it."""
    return name.rpartition("/")[2]


def write(
    event_type: str,
    *,
    resource_id: str,
    occurred_at: datetime,
    user_metadata: Mapping[str, Any],
    output: str = "",
    error: tuple[str, str] | None = None,
) -> bytes:
    """Write the body that Google would have sent; :func:`parse` reads it.

    Args:
        event_type: what happened.
        resource_id: the job's.
        occurred_at: aware time of it.
        user_metadata: a JSON object.
        output: ``gs://…``, ``files/…`` or the URL of a video; empty if there is none.
        error: code and message of a failed job.
    """
    data: dict[str, Any] = {"id": resource_id}
    if output:
        scheme = output.partition("/")[0]
        data[{"gs:": "output_file_uri", "files": "file_name"}.get(scheme, "video_uri")] = output
    if error:
        data["error_code"], data["error_message"] = error
    if user_metadata:
        data["user_metadata"] = dict(user_metadata)
    timestamp = occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    sent = {"type": event_type, "version": "v1", "timestamp": timestamp, "data": data}
    return json.dumps(sent).encode()


def parse(
    verified: VerifiedRequest,
    *,
    is_replay: bool = False,
    superseded: Callable[[], bool] = _never,
    with_seal: bool = False,
) -> Event:
    """Read the event out of a request whose signature holds.

    Args:
        verified: the request.
        is_replay: somebody asked for it again.
        superseded: says whether a newer event of the same resource is stored.
        with_seal: leave the seal in the metadata, for who has yet to open it.

    Raises:
        Unreadable: the body is not JSON, or nested too deeply.
    """
    payload = _load(verified.body)
    envelope = payload if isinstance(payload, dict) else {}
    data = envelope["data"] if isinstance(envelope.get("data"), dict) else {}
    metadata = verified.sealed_metadata
    if metadata is None:
        metadata = _metadata(envelope)
        if not with_seal:
            metadata = strip_seal(metadata)
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
        superseded=superseded,
    )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


#: ``json.loads`` would make one for each body.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _load(body: bytes) -> Any:
    try:
        return _decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        raise Unreadable("the body is not JSON") from None


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
