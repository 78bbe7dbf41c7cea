"""Makes a recording of a stored delivery."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gemini_webhooks import clock, deliveries, events, redaction
from gemini_webhooks.deliveries import rows
from gemini_webhooks.events import Event
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery
from gemini_webhooks.recordings import blanking
from gemini_webhooks.recordings.files import (
    MAX_RESULT_BYTES,
    InvalidRecording,
    RecordedResult,
    Recording,
    time,
)
from gemini_webhooks.seals import strip_seal
from gemini_webhooks.verification import VerifiedRequest


def export(
    delivery: WebhookDelivery,
    *,
    redact: bool = False,
    keep: Collection[str] = (),
    with_results: bool = False,
) -> Recording:
    """Record a delivery. Signatures, tokens, seals and secrets are never part of it.

    Args:
        delivery: one that has its body.
        redact: apply ``REDACT``, and blank metadata, rows and the texts of errors.
        keep: keys of the metadata whose values stay nevertheless.
        with_results: with the content of its result files.

    Raises:
        PayloadPruned: its body was removed.
        CannotRedact: ``REDACT`` could not be applied.
        InvalidRecording: a result file is too large, cannot be read, or cannot be redacted.
        django.db.Error: the database did not answer.
    """
    body = redaction.without_seal(deliveries.stored(delivery).body)
    metadata = strip_seal(delivery.user_metadata)
    about, results = _about(delivery), _results(delivery) if with_results else ()
    if redact:
        body = blanking.body(body, keep)
        metadata = blanking.metadata(redaction.shown_metadata(metadata), keep)
        shown = _event(delivery, body)
        about = blanking.about(about, shown)
        results = tuple(blanking.result(result, shown) for result in results)
    return Recording(
        webhook_id=delivery.webhook_id,
        endpoint=delivery.endpoint.slug if delivery.endpoint else "",
        body=body,
        user_metadata=metadata,
        sealed=delivery.sealed,
        headers=delivery.headers,
        results=results,
        redacted=redact,
        about=about,
    )


def _event(delivery: WebhookDelivery, body: bytes) -> Event:
    try:
        return events.parse(
            VerifiedRequest(webhook_id=delivery.webhook_id, body=body, signing="none")
        )
    except events.Unreadable as error:
        raise InvalidRecording(f"the redacted body cannot be read: {error}") from None


def _about(delivery: WebhookDelivery) -> dict[str, Any]:
    runs = rows(ReceiverRun).filter(delivery=delivery).order_by("pk")
    return {
        "event_type": delivery.event_type,
        "resource_id": delivery.resource_id,
        "signing": delivery.signing,
        "source": delivery.source,
        "occurred_at": time(delivery.occurred_at and clock.aware(delivery.occurred_at)),
        "received_at": time(clock.aware(delivery.received_at)),
        "state": delivery.state,
        "runs": [
            {
                "receiver": run.receiver,
                "state": run.state,
                "attempts": run.attempts,
                "error_class": run.error_class,
                "last_error": run.last_error,
            }
            for run in runs
        ],
    }


def _results(delivery: WebhookDelivery) -> tuple[RecordedResult, ...]:
    found = rows(ResultFile).filter(delivery=delivery, state=ResultFile.State.COMPLETE)
    results = list(found.order_by("position"))
    size = sum(result.size or 0 for result in results)
    if size > MAX_RESULT_BYTES:
        raise InvalidRecording(
            f"the result files have {size} bytes, and a recording takes {MAX_RESULT_BYTES}: leave "
            "out --results, or copy a part of them by hand"
        )
    return tuple(
        RecordedResult(
            source=result.source_uri,
            content_type=result.content_type,
            content=_content(result),
        )
        for result in results
    )


def _content(result: ResultFile) -> bytes:
    try:
        with result.file.open("rb") as file:
            content: bytes = file.read(MAX_RESULT_BYTES)
    except Exception as error:  # noqa: BLE001  # a storage may raise anything
        # Not its text, which may quote the name that nobody is to guess.
        raise InvalidRecording(
            f"a result file cannot be read from the storage ({type(error).__name__})"
        ) from None
    return content
