"""Stores verified requests, each once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet

from gemini_webhooks import clock, redaction
from gemini_webhooks.deliveries.common import SWEEP_GRACE_SECONDS, alias, rows
from gemini_webhooks.deliveries.inserting import insert, insert_both, is_within
from gemini_webhooks.deliveries.ordering import told_of
from gemini_webhooks.deliveries.statements import Update, slots
from gemini_webhooks.events import MAX_OCCASION_LENGTH, Event, bare_id, job_state
from gemini_webhooks.exceptions import PayloadPruned, Unauthorised
from gemini_webhooks.models import Job, TokenUse, WebhookDelivery
from gemini_webhooks.storable import storable, storable_text
from gemini_webhooks.verification.types import VerifiedRequest

_WHY_NO_BODY: Mapping[str, str] = {
    WebhookDelivery.EmptiedBy.ERASURE: "was erased on request",
    WebhookDelivery.EmptiedBy.REDACTION: "was not stored: REDACT could not look into it",
    WebhookDelivery.EmptiedBy.RETENTION: "was removed by retention",
}


#: What a token that binds a request must not serve with another value.
_BOUND_TO = ("webhook_id", "body_digest")


@dataclass
class _Lately:
    """Whether what came last in this process had come before."""

    repeated: bool = False


_lately = _Lately()


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
    headers: Mapping[str, str] | None = None,
) -> Recorded:
    """Store a verified request once; one INSERT decides whether it is a duplicate.

    It is one of the delivery with its webhook id, and of what the reconciler found before it.

    Args:
        verified: the request.
        event: what it says; ``None`` if it is unreadable.
        endpoint_id: the registered endpoint that it came to; ``None`` for the root endpoint.
        received_at: aware time of receipt.
        hand_off_now: ``False`` if the caller will not hand it off, so that the sweeper does at
            once.
        headers: those that may be shown; no signature vouches for them.

    Raises:
        Unauthorised: its token was used for another webhook id or body before.
        CannotRedact: a function of ``REDACT`` failed.
        django.db.Error: it could not be stored.
    """
    values = _values(verified, event, endpoint_id, received_at)
    values["headers"] = headers
    values["sweep_at"] = clock.after(SWEEP_GRACE_SECONDS if hand_off_now else 0)
    same = _repeated(values, verified)
    new = None if same else _inserted(values, verified)
    same = None if new else same or _duplicate_of(values, verified)
    if not new and not same:
        new = _inserted_over_recording(values, verified)
    if not new and not same and _is_told_before(values):
        # Under another webhook id: an event of its own.
        values["occasion"] = None
        new = _inserted(values, verified)
        same = None if new else _duplicate_of(values, verified)
    known = new or same
    if not known:
        raise IntegrityError("neither stored nor a duplicate")
    _lately.repeated = not new
    return Recorded(delivery_id=known, created=bool(new))


def record_found(
    verified: VerifiedRequest, event: Event, *, job: Job, hand_off_now: bool
) -> Recorded:
    """Store what the reconciler found out, unless the event has come or another pass was first.

    One INSERT decides that too, also between this and the event that comes at the same moment.

    Args:
        verified: the request that Google would have sent.
        event: what it says.
        job: what it is about.
        hand_off_now: as for :func:`record`.

    Raises:
        CannotRedact: a function of ``REDACT`` failed.
        django.db.Error: it could not be stored.
    """
    # Deliveries that the version before stored have no occasion.
    came = told_of(job.resource_id, job.name).filter(event_type=event.type)
    for same, resource_id in came.values_list("pk", "resource_id"):
        if bare_id(resource_id) == job.resource_id:
            return Recorded(delivery_id=same, created=False)
    values = _values(verified, event, job.endpoint_id, datetime.now(UTC))
    values["source"] = WebhookDelivery.Source.RECONCILER
    values["sweep_at"] = clock.after(SWEEP_GRACE_SECONDS if hand_off_now else 0)
    new = _inserted(values, verified) or _inserted_over_recording(values, verified)
    if new:
        return Recorded(delivery_id=new, created=True)
    conflict = Q(webhook_id=values["webhook_id"]) | Q(occasion=values["occasion"])
    known = rows(WebhookDelivery).filter(conflict).values_list("pk", flat=True).first()
    if known is not None:
        return Recorded(delivery_id=known, created=False)
    raise IntegrityError("neither stored nor known")


def record_loaded(
    verified: VerifiedRequest,
    event: Event | None,
    *,
    endpoint_id: int | None,
    headers: Mapping[str, str] | None,
    hand_off_now: bool,
) -> Recorded:
    """Store what somebody has put here from a recording; it never counts as Google's event.

    Args:
        verified: what the request was, elsewhere.
        event: as for :func:`record`.
        endpoint_id: likewise.
        headers: likewise.
        hand_off_now: ``False`` leaves it alone until somebody asks: no sweep looks for it.

    Raises:
        CannotRedact: a function of ``REDACT`` failed.
        django.db.Error: it could not be stored, or there is one with this webhook id.
    """
    values = _values(verified, event, endpoint_id, datetime.now(UTC))
    values["source"] = WebhookDelivery.Source.RECORDING
    values["occasion"] = None
    values["headers"] = headers
    if hand_off_now:
        values["sweep_at"] = clock.after(SWEEP_GRACE_SECONDS)
    with transaction.atomic(using=alias()):
        pk = insert(WebhookDelivery, values, alias())
    return Recorded(delivery_id=pk, created=True)


def sweep_soon(delivery_ids: Sequence[int]) -> None:
    """The hand-off failed: let the next sweep do it."""
    rows(WebhookDelivery).filter(pk__in=delivery_ids).update(sweep_at=clock.now())


def stored(delivery: WebhookDelivery) -> VerifiedRequest:
    """The verified request that ``delivery`` was.

    Raises:
        PayloadPruned: its body is no longer there.
    """
    if delivery.body is None:
        why = _WHY_NO_BODY.get(delivery.emptied_by, "was removed")
        raise PayloadPruned(f"the body of {delivery.webhook_id} {why}")
    return VerifiedRequest(
        webhook_id=delivery.webhook_id,
        body=bytes(delivery.body),
        signing=delivery.signing,  # type: ignore[arg-type]  # a choice of the column
        binding=delivery.binding or None,  # type: ignore[arg-type]  # likewise
        key_hint=delivery.key_hint,
        secret_id=delivery.secret_id,
        sealed_metadata=delivery.user_metadata if delivery.sealed else None,
    )


def _values(
    verified: VerifiedRequest, event: Event | None, endpoint_id: int | None, received_at: datetime
) -> dict[str, Any]:
    """What is written of a delivery, by attribute. No instance: that takes as long as the rest."""
    values: dict[str, Any] = {
        "webhook_id": verified.webhook_id,
        "endpoint_id": endpoint_id,
        "signing": verified.signing,
        "binding": verified.binding or "",
        "sealed": verified.sealed_metadata is not None,
        "key_hint": storable_text(verified.key_hint, 255),
        "secret_id": verified.secret_id,
        "event_type": "",
        "resource_id": "",
        "user_metadata": {},
        "occurred_at": None,
        "received_at": clock.for_database(received_at),
        "state": WebhookDelivery.State.UNREADABLE,
        "body": verified.body,
        "emptied_by": "",
        "redacted": False,
        "size": len(verified.body),
        "duplicate_count": 0,
        "source": WebhookDelivery.Source.WEBHOOK,
        "occasion": None,
    }
    if event is not None:
        occasion = event.occasion
        values |= {
            "state": WebhookDelivery.State.RECEIVED,
            "event_type": storable_text(event.type, 255),
            "resource_id": storable_text(event.resource_id, 255),
            "user_metadata": storable(event.user_metadata),
            "occurred_at": event.occurred_at and clock.for_database(event.occurred_at),
            "occasion": occasion and storable_text(occasion, MAX_OCCASION_LENGTH),
        }
    if redaction.is_asked_to_store_less():
        _redact(values)
    if values["state"] == WebhookDelivery.State.UNREADABLE:
        values |= {"settled_at": values["received_at"], "took": timedelta(0)}
    return values


def _redact(values: dict[str, Any]) -> None:
    """Take out what ``REDACT`` does not want stored; a body that it cannot look into, whole.

    Raises:
        CannotRedact: a function of the site failed.
    """
    came, metadata = values["body"], values["user_metadata"]
    try:
        values["body"] = redaction.body_to_store(came)
    except redaction.NotJson:
        values |= {
            "body": None,
            "user_metadata": {},
            "emptied_at": clock.now(),
            "emptied_by": WebhookDelivery.EmptiedBy.REDACTION,
            "state": WebhookDelivery.State.UNREADABLE,
        }
    else:
        values["user_metadata"] = redaction.metadata_to_store(metadata)
    values["redacted"] = (values["body"], values["user_metadata"]) != (came, metadata)


def _inserted(values: Mapping[str, Any], verified: VerifiedRequest) -> int | None:
    """Insert the row, and the token's with it; ``None`` if one of them conflicts with another."""
    using = alias()
    pin = _pin(verified)
    try:
        if pin:
            rows_of_both = (TokenUse, pin), (WebhookDelivery, values)
            return insert_both(*rows_of_both, using, unless="token_digest")
        with _statement(using):
            return insert(WebhookDelivery, values, using)
    except IntegrityError:
        return None


def _inserted_over_recording(values: Mapping[str, Any], verified: VerifiedRequest) -> int | None:
    """Likewise if a recording has the webhook id: nobody vouches for that, so it gets another."""
    webhook_id = values["webhook_id"]
    loaded = rows(WebhookDelivery).filter(
        webhook_id=webhook_id, source=WebhookDelivery.Source.RECORDING
    )
    other = f"{webhook_id[:200]}-recording-{secrets.token_hex(4)}"
    return _inserted(values, verified) if loaded.update(webhook_id=other) else None


def _pin(verified: VerifiedRequest) -> dict[str, Any] | None:
    """The row of :class:`TokenUse` that binds a token to this request alone.

    A token that names only the sender may be reused by Google, if a seal proves the job.
    """
    reusable = verified.binding == "unbound" and verified.sealed_metadata is not None
    if verified.signing != "jwt" or reusable:
        return None
    ends = verified.token_expires_at
    return {
        "token_digest": verified.token_digest,
        "webhook_id": verified.webhook_id,
        "body_digest": sha256(verified.body).hexdigest(),
        "used_at": clock.now(),
        "expires_at": ends and clock.for_database(ends),
    }


def _statement(using: str) -> AbstractContextManager[object]:
    """A transaction where one is needed, for a failure inside of somebody else's."""
    return transaction.atomic(using=using) if is_within(using) else nullcontext()


def _repeated(values: Mapping[str, Any], verified: VerifiedRequest) -> int | None:
    """Count the duplicate, as :func:`_duplicate_of`, if one is to be expected.

    Whoever repeats himself does so for a while. Then this one statement is all that it takes; and
    what it does not find, the INSERT decides about as ever. A token has to be looked at first. In
    a transaction that goes on, an UPDATE that finds nothing may lock what it looked through.
    """
    if not _lately.repeated or verified.signing == "jwt" or is_within(alias()):
        return None
    return _count.key(webhook_id=values["webhook_id"])


def _duplicate_of(values: Mapping[str, Any], verified: VerifiedRequest) -> int | None:
    """Count the duplicate and return the id of what it repeats; ``None`` if there is no such.

    Raises:
        Unauthorised: it is no duplicate but the reuse of a token.
    """
    pin = _pin(verified)
    used = pin and rows(TokenUse).filter(token_digest=pin["token_digest"]).first()
    if pin and used and any(pin[name] != getattr(used, name) for name in _BOUND_TO):
        raise Unauthorised("token_reused", "the token was used for another webhook id or body")
    same = _count.key(webhook_id=values["webhook_id"]) or _counted_as_found(values)
    if same and pin and not used:
        # A retry with a token of its own: from now on that one is used up as well.
        rows(TokenUse).bulk_create([TokenUse(**pin)], ignore_conflicts=True)
    return same


#: Of the delivery with this webhook id; put together once, as it is what senders that repeat
#: themselves cost.
_count = Update(
    lambda: (
        rows(WebhookDelivery)
        .filter(**slots(WebhookDelivery, "webhook_id"))
        .exclude(source=WebhookDelivery.Source.RECORDING),
        {"duplicate_count": F("duplicate_count") + 1},
    )
)


def _counted_as_found(values: Mapping[str, Any]) -> int | None:
    """Count a duplicate of what the reconciler found before the event came."""
    found = _found_before(values)
    if values["user_metadata"]:
        # Who found it did not know the metadata, which receivers may match on. What was emptied
        # on purpose stays so.
        found.filter(user_metadata={}, emptied_at=None).update(**_taken_over(values))
    if not found.update(duplicate_count=F("duplicate_count") + 1):
        return None
    return found.values_list("pk", flat=True).get()


def _is_told_before(values: Mapping[str, Any]) -> bool:
    """Whether there is a delivery about the same, which Google told of."""
    occasion = values["occasion"]
    return bool(occasion) and rows(WebhookDelivery).filter(occasion=occasion).exists()


def _taken_over(values: Mapping[str, Any]) -> dict[str, object]:
    """What a find gets from the event: its content, and a run for each receiver without one."""
    content = ("body", "size", "user_metadata", "redacted", "sealed")
    return {
        **{name: values[name] for name in content},
        "state": WebhookDelivery.State.RECEIVED,
        "sweep_at": clock.now(),
    }


def _found_before(values: Mapping[str, Any]) -> QuerySet[WebhookDelivery]:
    """What the reconciler found before the event came.

    A job ends once, but may require action again: then only what had happened when the
    reconciler looked is the same.
    """
    if values["occasion"] is None:
        return rows(WebhookDelivery).none()
    found = rows(WebhookDelivery).filter(
        occasion=values["occasion"], source=WebhookDelivery.Source.RECONCILER
    )
    if job_state(values["event_type"]) == "requires_action" and values["occurred_at"]:
        return found.filter(received_at__gte=values["occurred_at"])
    return found


def reset() -> None:
    """Forget what came last, between tests."""
    _lately.repeated = False
