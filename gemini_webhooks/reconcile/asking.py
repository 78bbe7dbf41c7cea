"""Asks Google about one job and stores what its event would have said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from django.db import Error as DatabaseTrouble

from gemini_webhooks import deliveries, dispatch, events, gateway, logs
from gemini_webhooks.conf import SETTING, settings
from gemini_webhooks.exceptions import ConfigurationError, GatewayError
from gemini_webhooks.gateway import RemoteJob
from gemini_webhooks.models import Job
from gemini_webhooks.reconcile import ledger
from gemini_webhooks.verification import VerifiedRequest

logger = logs.get_logger(__name__)

MAX_WEBHOOK_ID_LENGTH = 255
Outcome = Literal["found", "known", "running", "lost", "failed"]

READ: dict[str, Callable[..., RemoteJob]] = {
    Job.Kind.BATCH: gateway.read_batch,
    Job.Kind.INTERACTION: gateway.read_interaction,
    Job.Kind.OPERATION: gateway.read_operation,
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one job; the outcomes are the fields of :class:`reconcile.Report`."""

    outcome: Outcome
    reason: str = ""


def ask(job: Job) -> Answer:
    """Ask Google how ``job`` stands. What goes wrong with it is noted on it, not raised.

    Raises:
        django.db.Error: it could not even be noted.
    """
    try:
        return _settle(job, READ[job.kind](api_key_name=job.api_key_name, name=_name(job)))
    except GatewayError as error:
        if error.status == 404:
            reason = "Google does not know it, or no longer"
            ledger.lose(job, reason)
            return Answer(outcome="lost", reason=reason)
        return _failed(job, str(error), soon=not error.permanent)
    except ConfigurationError as error:
        return _failed(job, str(error), soon=False)
    except DatabaseTrouble as error:
        # Its text may quote the row.
        return _failed(job, f"not stored: {type(error).__name__}", soon=True)


def api_keys(name: str | None) -> list[str]:
    """The keys in ``API_KEYS`` that have a value, or ``name`` alone.

    Raises:
        ConfigurationError: there is no such API key.
    """
    known = [each for each, key in settings.API_KEYS.items() if key]
    if name is None:
        return known
    if name not in known:
        raise ConfigurationError(f"{SETTING}['API_KEYS'] has no key {name!r}")
    return [name]


def end_of(kind: str, remote: RemoteJob) -> str | None:
    """The type of the event that Google sends for the state of ``remote``, if it sends one."""
    return events.EVENT_OF_STATE.get((kind, remote.state))


def _settle(job: Job, remote: RemoteJob) -> Answer:
    event_type = end_of(job.kind, remote)
    if event_type is None or events.job_state(event_type) == job.state:
        if ledger.wait(job, remote):
            return Answer(outcome="running")
        return Answer(outcome="lost", reason=f"still {remote.state}")
    delivery_id, is_new = _record(job, remote, event_type)
    ledger.settle(job, event_type, delivery_id)
    if not is_new:
        return Answer(outcome="known")
    logger.warning("%s of %s was found, not received", event_type, job.resource_id)
    dispatch.hand_off(delivery_id)
    return Answer(outcome="found")


def _record(job: Job, remote: RemoteJob, event_type: str) -> tuple[int, bool]:
    error = remote.error
    if events.job_state(event_type) == "failed" and error is None:
        error = (remote.state, "Google gave no reason")
    body = events.write(
        event_type,
        resource_id=job.resource_id,
        occurred_at=remote.changed_at or datetime.now(UTC),
        user_metadata=job.user_metadata,
        output=remote.output,
        error=error,
    )
    # Not signed by anybody, but read from Google with our own key: the same trust.
    verified = VerifiedRequest(
        webhook_id=f"reconciled:{event_type}:{job.resource_id}"[:MAX_WEBHOOK_ID_LENGTH],
        body=body,
        signing="none",
    )
    recorded = deliveries.record_found(
        verified, events.parse(verified), job=job, hand_off_now=dispatch.broker_is_up()
    )
    return recorded.delivery_id, recorded.created


def _failed(job: Job, reason: str, *, soon: bool) -> Answer:
    logger.warning("job %s not reconciled: %s", job.resource_id, reason)
    outcome: Outcome = "failed" if ledger.fail(job, reason, soon=soon) else "lost"
    return Answer(outcome=outcome, reason=reason)


def _name(job: Job) -> str:
    """What Google is asked for; jobs that the version before entered have no name."""
    if job.name:
        return job.name
    if job.kind == Job.Kind.OPERATION:
        raise ConfigurationError("the ledger does not have its whole name: track() it again")
    return f"batches/{job.resource_id}" if job.kind == Job.Kind.BATCH else job.resource_id
