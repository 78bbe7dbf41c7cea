"""Receives a webhook: verify, parse, record, hand off. Nothing else happens in the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from django.db import Error as DatabaseTrouble

from gemini_webhooks import (
    deliveries,
    dispatch,
    endpoints,
    events,
    logs,
    observe,
    rejections,
    seals,
)
from gemini_webhooks.conf import settings
from gemini_webhooks.endpoints import Acceptance
from gemini_webhooks.events import Event
from gemini_webhooks.exceptions import ConfigurationError, Rejected, Unauthorised, Undecided
from gemini_webhooks.verification import (
    IncomingRequest,
    KeySet,
    SignedHeaders,
    VerifiedRequest,
    hmac,
    jwt,
    read_headers,
    safe_headers,
)

logger = logs.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The answer to a request that is believed.

    Attributes:
        status: whether it was stored now or before.
        delivery_id: primary key of the delivery.
    """

    status: Literal["accepted", "duplicate"]
    delivery_id: int


def receive(request: IncomingRequest, slug: str | None = None) -> Receipt:
    """Verify and store one request.

    Args:
        request: what came.
        slug: the registered endpoint that it came to; ``None`` is the root endpoint.

    Raises:
        Rejected: it is not believed; recorded, within limits.
        Undecided: it cannot be decided or stored now; recorded likewise, unless the database is
            the reason.
    """
    acceptance = None
    try:
        acceptance = endpoints.accepted_at(slug)
        return _receive(request, acceptance)
    except (Rejected, Undecided) as refusal:
        refuse(request, slug, refusal, acceptance)
        raise
    except ConfigurationError as error:
        undecided = Undecided("misconfigured", str(error), retry_after=60)
        refuse(request, slug, undecided)
        raise undecided from None
    except DatabaseTrouble as error:
        # Not the error itself: its text may quote the row, and so the payload.
        reason = f"the delivery could not be stored: {type(error).__name__}"
        observe.refused("database_unavailable")
        raise Undecided("database_unavailable", reason) from None


def refuse(
    request: IncomingRequest,
    slug: str | None,
    refusal: Rejected | Undecided,
    acceptance: Acceptance | None = None,
) -> None:
    """Record a request that is not accepted, unless too many were recorded just now.

    Args:
        request: what came.
        slug: the endpoint that it came to.
        refusal: why it is refused or put off.
        acceptance: what its signature was compared with, if it came to that.
    """
    observe.refused(refusal.code)
    suppressed = rejections.quota.take(refusal.code)
    if suppressed is None:
        return
    if isinstance(refusal, Rejected):
        refusal.diagnosis = _diagnosis(request, refusal, acceptance)
        logger.warning("webhook refused: %s: %s", refusal.code, refusal.diagnosis)
    rejections.record(request, slug or "", refusal, suppressed)


def _receive(request: IncomingRequest, acceptance: Acceptance) -> Receipt:
    headers = read_headers(request, tolerance_seconds=settings.TOLERANCE_SECONDS)
    observe.identified(headers.webhook_id)
    verified = _verify(request, headers, acceptance)
    event: Event | None
    try:
        verified, event = _unseal(verified, events.parse(verified, with_seal=True), acceptance)
    except events.Unreadable:
        _require_seal(verified)
        event = None
    recorded = deliveries.record(
        verified,
        event,
        endpoint_id=acceptance.endpoint_id,
        received_at=request.received_at,
        hand_off_now=dispatch.broker_is_up(),
        headers=safe_headers(request),
    )
    observe.received(
        event.type if event else None,
        verified.signing,
        created=recorded.created,
        delivery_id=recorded.delivery_id,
    )
    if recorded.created and event is not None:
        dispatch.hand_off(recorded.delivery_id)
    return Receipt(
        status="accepted" if recorded.created else "duplicate", delivery_id=recorded.delivery_id
    )


def _verify(
    request: IncomingRequest, headers: SignedHeaders, acceptance: Acceptance
) -> VerifiedRequest:
    if headers.is_token:
        key_set = KeySet(
            settings.JWKS_URL,
            cache_seconds=settings.JWKS_CACHE_SECONDS,
            timeout_seconds=settings.JWKS_TIMEOUT_SECONDS,
        )
        return jwt.verify(headers, request.body, key_set, acceptance.token_rules, datetime.now(UTC))
    try:
        key = hmac.verify(headers, request.body, acceptance.keys)
    except Unauthorised:
        if acceptance.unusable:
            raise Undecided(
                "secret_unreadable", f"{acceptance.unusable} signing secret(s) cannot be read"
            ) from None
        raise
    return VerifiedRequest(
        webhook_id=headers.webhook_id,
        body=request.body,
        signing="hmac",
        key_hint=key.hint,
        secret_id=key.secret_id,
    )


def _unseal(
    verified: VerifiedRequest, event: Event, acceptance: Acceptance
) -> tuple[VerifiedRequest, Event]:
    """Put what the seal says in the place of the metadata that came along."""
    sealed: Mapping[str, Any] | None
    try:
        sealed = seals.open_seal(event.user_metadata, endpoint=acceptance.slug)
    except Unauthorised:
        if verified.signing == "jwt":
            raise
        sealed = None
    if sealed is None:
        _require_seal(verified)
        if seals.SEAL_KEY in event.user_metadata:
            event = replace(event, user_metadata=seals.strip_seal(event.user_metadata))
        return verified, event
    return replace(verified, sealed_metadata=sealed), replace(event, user_metadata=sealed)


def _require_seal(verified: VerifiedRequest) -> None:
    if verified.signing == "jwt" and settings.REQUIRE_SEAL:
        raise Unauthorised(
            "seal_missing",
            "the event carries no seal of this site: was its job started elsewhere, or without "
            "gemini_webhooks.jobs.webhook_config()?",
        )


def _diagnosis(request: IncomingRequest, rejected: Rejected, acceptance: Acceptance | None) -> str:
    """What an operator would like to know; found out only for rejections that are recorded."""
    if rejected.code != "signature_mismatch" or acceptance is None:
        return rejected.diagnosis
    try:
        headers = read_headers(request, tolerance_seconds=settings.TOLERANCE_SECONDS)
        if headers.is_token:
            return rejected.diagnosis
        own = acceptance.keys
        if not own:
            return "no signing secret is configured for this address"
        others = endpoints.keys_elsewhere(acceptance.slug)
        return hmac.explain_mismatch(headers, request.body, own=own, others=others)
    except (Rejected, DatabaseTrouble):
        return rejected.diagnosis
