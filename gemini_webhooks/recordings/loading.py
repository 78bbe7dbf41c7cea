"""Stores what a recording holds, as a delivery that says where it comes from."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.db import transaction

from gemini_webhooks import deliveries, dispatch, events, logs
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.events import Event
from gemini_webhooks.models import ResultFile, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.recordings.files import Recording
from gemini_webhooks.results import removal, supplying
from gemini_webhooks.seals import strip_seal
from gemini_webhooks.verification import VerifiedRequest

logger = logs.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What :func:`load` did.

    Attributes:
        delivery: the stored one.
        created: ``False`` if there was one with this webhook id before; nothing was changed.
        started: workers run its receivers.
        results: the result files that were stored.
        missing_endpoint: slug of the endpoint that is not here, so that it is at the root; empty
            if none is missing.
    """

    delivery: WebhookDelivery
    created: bool
    started: bool
    results: tuple[ResultFile, ...] = ()
    missing_endpoint: str = ""


def load(recording: Recording, *, again: bool = False, hand_off: bool = False) -> Loaded:
    """Store a recording. Nobody vouches for it but whoever has put it here.

    Args:
        recording: of any site.
        again: under a webhook id of its own, so that there may be several.
        hand_off: have workers run its receivers; also of one that was only stored before.

    Raises:
        CannotRedact: a function of ``REDACT`` failed.
        ResultError: the storage did not take a result file.
        django.db.Error: it could not be stored.
    """
    if again:
        recording = replace(recording, webhook_id=_another(recording.webhook_id))
    stored = rows(WebhookDelivery).filter(webhook_id=recording.webhook_id).first()
    if stored is not None:
        return Loaded(delivery=stored, created=False, started=hand_off and _started(stored))
    endpoint = rows(WebhookEndpoint).filter(slug=recording.endpoint).first()
    results: list[ResultFile] = []
    try:
        with transaction.atomic(using=alias()):
            delivery = _stored(recording, endpoint, hand_off=hand_off)
            for position, result in enumerate(recording.results):
                results.append(
                    supplying.supply(
                        delivery,
                        position=position,
                        source=result.source,
                        content=result.content,
                        content_type=result.content_type,
                    )
                )
            if hand_off:
                dispatch.hand_off(delivery.pk)
    except BaseException:
        forget(results)
        raise
    logger.info("delivery %s was loaded from a recording", delivery.webhook_id)
    missing = recording.endpoint if endpoint is None else ""
    return Loaded(
        delivery=delivery,
        created=True,
        started=hand_off,
        results=tuple(results),
        missing_endpoint=missing,
    )


def forget(results: Iterable[ResultFile]) -> None:
    """Delete files from the storage whose rows are rolled back."""
    for result in results:
        removal.delete_file(result)


def is_only_stored(delivery: WebhookDelivery) -> bool:
    """Whether it is a recording whose receivers nobody has asked for yet."""
    is_recording = delivery.source == WebhookDelivery.Source.RECORDING
    is_received = delivery.state == WebhookDelivery.State.RECEIVED
    return is_recording and is_received and delivery.sweep_at is None


def _started(delivery: WebhookDelivery) -> bool:
    if not is_only_stored(delivery):
        return False
    deliveries.sweep_soon([delivery.pk])
    dispatch.hand_off(delivery.pk)
    return True


def _stored(
    recording: Recording, endpoint: WebhookEndpoint | None, *, hand_off: bool
) -> WebhookDelivery:
    verified = VerifiedRequest(
        webhook_id=recording.webhook_id,
        body=recording.body,
        signing="none",
        sealed_metadata=strip_seal(recording.user_metadata) if recording.sealed else None,
    )
    event: Event | None
    try:
        event = events.parse(verified)
    except events.Unreadable:
        event = None
    recorded = deliveries.record_loaded(
        verified,
        event,
        endpoint_id=endpoint.pk if endpoint else None,
        headers=recording.headers,
        hand_off_now=hand_off,
    )
    return rows(WebhookDelivery).get(pk=recorded.delivery_id)


def _another(webhook_id: str) -> str:
    return f"{webhook_id[:200]}-again-{secrets.token_hex(4)}"
