"""Stores verified requests, each once."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from django.db import IntegrityError, transaction
from django.db.models import F

from gemini_webhooks import clock
from gemini_webhooks.deliveries.common import SWEEP_GRACE_SECONDS, alias, rows
from gemini_webhooks.events import Event
from gemini_webhooks.exceptions import PayloadPruned, Unauthorised
from gemini_webhooks.models import TokenUse, WebhookDelivery
from gemini_webhooks.storable import storable, storable_text
from gemini_webhooks.verification.types import VerifiedRequest


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What :func:`record` did: the row's id, and whether it is new."""

    delivery_id: int
    created: bool


def record(
    verified: VerifiedRequest,
    event: Event | None,
    *,
    endpoint_id: int | None,
    received_at: datetime,
    hand_off_now: bool,
) -> Recorded:
    """Store a verified request once; one INSERT decides whether it is a duplicate.

    Args:
        verified: the request.
        event: what it says; ``None`` if it is unreadable.
        endpoint_id: the registered endpoint that it came to; ``None`` for the root endpoint.
        received_at: aware time of receipt.
        hand_off_now: ``False`` if the caller will not hand it off, so that the sweeper does at
            once.

    Raises:
        Unauthorised: its token was used for another webhook id or body before.
        django.db.Error: it could not be stored.
    """
    delivery = _delivery(verified, event, endpoint_id, received_at)
    delivery.sweep_at = clock.after(SWEEP_GRACE_SECONDS if hand_off_now else 0)
    using = alias()
    try:
        with _statement(using, pinned=bool(_pin(verified))):
            if pin := _pin(verified):
                pin.save(using=using, force_insert=True)
            delivery.save(using=using, force_insert=True)
    except IntegrityError:
        return Recorded(delivery_id=_duplicate_of(verified), created=False)
    return Recorded(delivery_id=delivery.pk, created=True)


def sweep_soon(delivery_id: int) -> None:
    """The hand-off failed: let the next sweep do it."""
    rows(WebhookDelivery).filter(pk=delivery_id).update(sweep_at=clock.now())


def stored(delivery: WebhookDelivery) -> VerifiedRequest:
    """The verified request that ``delivery`` was.

    Raises:
        PayloadPruned: its body is no longer there.
    """
    if delivery.body is None:
        raise PayloadPruned(f"the body of {delivery.webhook_id} was removed by retention")
    return VerifiedRequest(
        webhook_id=delivery.webhook_id,
        body=bytes(delivery.body),
        signing=delivery.signing,  # type: ignore[arg-type]  # a choice of the column
        binding=delivery.binding or None,  # type: ignore[arg-type]  # likewise
        key_hint=delivery.key_hint,
        secret_id=delivery.secret_id,
        sealed_metadata=delivery.user_metadata if delivery.sealed else None,
    )


def _delivery(
    verified: VerifiedRequest, event: Event | None, endpoint_id: int | None, received_at: datetime
) -> WebhookDelivery:
    delivery = WebhookDelivery(
        webhook_id=verified.webhook_id,
        endpoint_id=endpoint_id,
        signing=verified.signing,
        binding=verified.binding or "",
        sealed=verified.sealed_metadata is not None,
        key_hint=storable_text(verified.key_hint, 255),
        secret_id=verified.secret_id,
        received_at=clock.for_database(received_at),
        body=verified.body,
        size=len(verified.body),
        state=WebhookDelivery.State.UNREADABLE,
    )
    if event is not None:
        delivery.state = WebhookDelivery.State.RECEIVED
        delivery.event_type = storable_text(event.type, 255)
        delivery.resource_id = storable_text(event.resource_id, 255)
        delivery.user_metadata = storable(event.user_metadata)
        delivery.occurred_at = event.occurred_at and clock.for_database(event.occurred_at)
    return delivery


def _pin(verified: VerifiedRequest) -> TokenUse | None:
    """What binds a token to this request alone.

    A token that names only the sender may be reused by Google, if a seal proves the job.
    """
    reusable = verified.binding == "unbound" and verified.sealed_metadata is not None
    if verified.signing != "jwt" or reusable:
        return None
    return TokenUse(
        token_digest=verified.token_digest,
        webhook_id=verified.webhook_id,
        body_digest=sha256(verified.body).hexdigest(),
    )


def _statement(using: str, *, pinned: bool) -> AbstractContextManager[object]:
    """A transaction where one is needed: two rows, or a failure inside of somebody else's."""
    if pinned or transaction.get_connection(using).in_atomic_block:
        return transaction.atomic(using=using)
    return nullcontext()


def _duplicate_of(verified: VerifiedRequest) -> int:
    """Count the duplicate and return the id of the delivery that it repeats.

    Raises:
        Unauthorised: it is no duplicate but the reuse of a token.
        IntegrityError: it is neither, so it was not stored.
    """
    pin = _pin(verified)
    used = pin and rows(TokenUse).filter(token_digest=pin.token_digest).first()
    if pin and used and (used.webhook_id, used.body_digest) != (pin.webhook_id, pin.body_digest):
        raise Unauthorised("token_reused", "the token was used for another webhook id or body")
    same = rows(WebhookDelivery).filter(webhook_id=verified.webhook_id)
    if not same.update(duplicate_count=F("duplicate_count") + 1):
        raise IntegrityError("neither stored nor a duplicate") from None
    if pin and not used:
        # A retry with a token of its own: from now on that one is used up as well.
        rows(TokenUse).bulk_create([pin], ignore_conflicts=True)
    return same.values_list("pk", flat=True).get()
