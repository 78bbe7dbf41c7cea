"""The file of a recording: JSON that names its format and its version."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.storable import is_storable
from gemini_webhooks.verification.headers import WEBHOOK_ID

FORMAT = "django-gemini-webhooks recording"
VERSION = 1
#: Of a file, in bytes. What is larger is none of ours.
MAX_BYTES = 64 * 1024**2
#: Of the content of result files in one recording, in bytes.
MAX_RESULT_BYTES = 16 * 1024**2

Kind = TypeVar("Kind", "Recording", "RecordedResult")


class InvalidRecording(GeminiWebhooksError):
    """A file is no recording that this version can read; the message says why."""


@dataclass(frozen=True, kw_only=True)
class RecordedResult:
    """A result file of the delivery, with its content."""

    source: str
    content_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A delivery with all that it takes to run its receivers again.

    Attributes:
        webhook_id: of the delivery.
        endpoint: slug of the one that it came to; empty is the root endpoint.
        body: what came, without the seal: that would prove to the site that it started a job.
        user_metadata: what receivers got, which for a dynamic webhook is what the seal said.
        sealed: whether it was; then it goes before what the body says.
        headers: those that are no secret.
        results: only if they were asked for.
        redacted: whether values were taken out on request.
        about: for whoever reads the file: type, times, states, what receivers did.
    """

    webhook_id: str
    endpoint: str
    body: bytes = field(repr=False)
    user_metadata: Mapping[str, Any] = field(repr=False)
    sealed: bool
    headers: Mapping[str, str] | None = None
    results: tuple[RecordedResult, ...] = ()
    redacted: bool = False
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)


def time(moment: datetime | None) -> str | None:
    """An aware time as the file has it."""
    return moment.isoformat() if moment else None


def write(recording: Recording) -> str:
    """The text of the file; :func:`read` reads it."""
    plain = {one.name: getattr(recording, one.name) for one in fields(Recording)}
    plain["body"] = _encoded(recording.body)
    plain["results"] = [
        {
            "source": result.source,
            "content_type": result.content_type,
            "content": _encoded(result.content),
        }
        for result in recording.results
    ]
    return json.dumps({"format": FORMAT, "version": VERSION, **plain}, indent=2) + "\n"


def read(content: bytes) -> Recording:
    """Read the content of a file.

    Raises:
        InvalidRecording: it is no recording, or one of another version, or not whole.
    """
    if len(content) > MAX_BYTES:
        raise InvalidRecording(f"it is larger than {MAX_BYTES} bytes, as no recording is")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidRecording("it is no JSON, or not whole") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InvalidRecording("it was not made by `manage.py gemini_webhooks export`")
    if found.get("version") != VERSION:
        raise InvalidRecording(
            f"it has version {found.get('version')!r:.20} and this one reads {VERSION}: is the "
            "package here older than where it was made?"
        )
    results = found.get("results", [])
    if not isinstance(results, list):
        raise InvalidRecording("results is no list")
    recording = _built(
        Recording,
        found,
        body=_decoded(found.get("body"), "body"),
        results=tuple(map(_result, results)),
    )
    _check(recording)
    return recording


def _result(found: object) -> RecordedResult:
    if not isinstance(found, dict):
        raise InvalidRecording("a result is no object")
    return _built(RecordedResult, found, content=_decoded(found.get("content"), "content"))


def _built(kind: type[Kind], found: Mapping[str, Any], **read_before: object) -> Kind:
    given = {one.name: found[one.name] for one in fields(kind) if one.name in found}
    try:
        return kind(**{**given, **read_before})
    except TypeError:
        missing = [one.name for one in fields(kind) if one.name not in given]
        raise InvalidRecording(f"something is missing, of: {', '.join(missing)}") from None


def _check(recording: Recording) -> None:
    """A file may have been written by hand: nothing is what its type says yet."""
    found: dict[str, object] = {one.name: getattr(recording, one.name) for one in fields(Recording)}
    webhook_id, headers = found["webhook_id"], found["headers"]
    if not isinstance(webhook_id, str) or not WEBHOOK_ID.fullmatch(webhook_id):
        raise InvalidRecording("webhook_id is not 1 to 255 visible ASCII characters")
    texts = [found["endpoint"]]
    for result in recording.results:
        texts += [result.source, result.content_type]
    if not all(isinstance(text, str) and is_storable(text) for text in texts):
        raise InvalidRecording("endpoint, source and content_type are texts")
    metadata = found["user_metadata"]
    if not isinstance(metadata, dict) or not is_storable(metadata):
        raise InvalidRecording("user_metadata is no object that can be stored")
    if headers is not None and not (isinstance(headers, dict) and is_storable(headers)):
        raise InvalidRecording("headers is no object that can be stored")
    if not isinstance(found["sealed"], bool):
        raise InvalidRecording("sealed is neither true nor false")


def _encoded(content: bytes) -> dict[str, str]:
    """As text where it is some, so that it can be read and changed by hand."""
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _decoded(found: object, name: str) -> bytes:
    match found:
        case {"text": str(text)}:
            return text.encode("utf-8", "surrogatepass")
        case {"base64": str(text)}:
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                pass
    raise InvalidRecording(f"{name} is neither text nor base64")
