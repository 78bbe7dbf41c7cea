"""What the studio does when Google says that a job has ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.dispatch import receiver
from django.utils import timezone

from example_project.studio import commissions, google, policy, telling
from example_project.studio.models import BatchRow, Commission
from gemini_webhooks import RetryLater, receivers
from gemini_webhooks.events import Event, bare_id
from gemini_webhooks.models import Job, ReceiverRun, ResultFile, WebhookDelivery
from gemini_webhooks.signals import delivery_failed, event_received, result_ready

logger = logging.getLogger(__name__)
State = Commission.State
#: Before a retry that the Gemini API did not take is tried again.
LEAST_PAUSE_SECONDS = 30
#: Receivers without which a commission is done all the same.
NOT_NEEDED = (".log_event", ".tell_the_chat", ".page_on_call")


@receiver(event_received)
def log_event(event: Event, **_: Any) -> None:
    """Write a line about every event, of known types and others."""
    logger.info("%s says %s", event.resource_id, event.type)


# Results


@receiver(result_ready)
def keep_result(event: Event, delivery: WebhookDelivery, result: ResultFile, **_: Any) -> None:
    """Keep the rows of a batch, or the video.

    All of it or none, and only once: this runs in one transaction with the mark that it ran.
    """
    if event.type == "batch.succeeded":
        _store_rows(event, result, tenant=_vouched_for(event, delivery).get("tenant", ""))
    if commission := _commission(event, delivery):
        commissions.settle(
            commission,
            State.SUCCEEDED,
            bare_id(event.resource_id),
            said="Its result is here.",
            result=result,
        )


@receivers.on("interaction.completed")
@receivers.non_atomic  # no transaction is open while Google is asked
def keep_answer(event: Event, delivery: WebhookDelivery, **_: Any) -> None:
    """The event says that an interaction has ended; what it says has to be read."""
    commission = _commission(event, delivery)
    if commission and commission.state != State.SUCCEEDED:
        answer = google.read_interaction(event.resource_id).output_text or ""
        commissions.settle(
            commission,
            State.SUCCEEDED,
            event.resource_id,
            said="The model has answered.",
            answer=answer,
        )


# Somebody has to say yes


@receivers.on("interaction.requires_action")
@receivers.non_atomic
def ask_a_person(event: Event, delivery: WebhookDelivery, **_: Any) -> None:
    """Have the functions that the model calls approved on the commission's page."""
    commission = _commission(event, delivery)
    if commission is None or commission.state == State.SUCCEEDED:
        return
    for step in google.read_interaction(event.resource_id).steps:
        if step.type == "function_call":
            _approval, is_new = commission.approvals.get_or_create(
                interaction_id=event.resource_id,
                call_id=step.id,
                defaults={"function": step.name, "arguments": step.arguments or {}},
            )
            if is_new:
                commission.note(f"The model asks for “{step.name}”.")
    if commission.asked(event.resource_id).exists():
        commissions.settle(commission, State.WAITING, event.resource_id)


@receivers.on("interaction.requires_action")
@receivers.non_atomic
def tell_the_chat(event: Event, delivery: WebhookDelivery, **_: Any) -> None:
    """Somebody may be waiting elsewhere than on that page."""
    commission = _commission(event, delivery)
    told = f"The chat channel was told of {event.resource_id}."
    if commission is None or commission.has_noted(told):
        return
    if commission.is_decided(event.resource_id):
        return
    if telling.chat(commission, f"“{commission}” waits for your approval:"):
        commission.note(told)


# What goes wrong


@receivers.on("batch.failed")
@receivers.on("batch.expired")
@receivers.on("batch.cancelled")
@receivers.on("interaction.failed")
@receivers.on("interaction.cancelled")
@receivers.on("video.failed")  # Google documents no such event; the reconciler finds it
def note_failure(event: Event, delivery: WebhookDelivery, **_: Any) -> None:
    """Say on the page that it came to nothing, and why."""
    if commission := _commission(event, delivery):
        pause = policy.pause_before_next(event)
        state = State.FAILED if pause is None else State.RETRYING
        next_step = "" if pause is None else f" It is tried again after {pause:g} s."
        commissions.settle(
            commission,
            state,
            bare_id(event.resource_id),
            said=f"Try {policy.try_of(event)}: {_reason(event)}{next_step}",
            error=_reason(event),
        )


@receivers.on("batch.failed")
@receivers.on("batch.expired")
@receivers.non_atomic  # an e-mail is not taken back with a transaction
def page_on_call(event: Event, delivery: WebhookDelivery, **_: Any) -> None:
    """Somebody has to know, whether it is tried again or not."""
    commission = _commission(event, delivery, any_try=True)
    told = f"On-call was told of {event.resource_id}."
    if commission is None or commission.has_noted(told):
        return
    pause = policy.pause_before_next(event)
    next_step = "It is given up." if pause is None else f"It is tried again after {pause:g} s."
    number = policy.named_try(event)
    telling.on_call(
        commission,
        f"{commission.tenant}: a batch failed, {number}",
        f"{event.resource_id} of {commission.tenant} came to nothing ({number}):\n"
        f"{_reason(event)}\n\n{next_step}",
    )
    commission.note(told)


@receivers.on("batch.failed")
@receivers.on("batch.expired")
@receivers.non_atomic
def try_again(event: Event, delivery: WebhookDelivery, **_: Any) -> None:
    """Submit the batch once more, after the pause that the policy wants."""
    pause = policy.pause_before_next(event)
    commission = _commission(event, delivery, any_try=True)
    if commission is None or pause is None:
        return
    left = (delivery.received_at + timedelta(seconds=pause) - timezone.now()).total_seconds()
    if left > 0:
        raise RetryLater(left)
    number = policy.try_of(event)
    why = f"It is submitted again, try {number + 1} of {policy.MOST_TRIES}."
    commissions.submit_again(commission, after_try=number, why=why, was_interrupted=True)
    if commissions.put_off(commission, after_try=number):
        raise RetryLater(max(pause, LEAST_PAUSE_SECONDS))


@receiver(delivery_failed)
def note_dead_end(
    event: Event | None, delivery: WebhookDelivery, run: ReceiverRun, **_: Any
) -> None:
    """What came, but could not be kept, is no success."""
    commission = _commission(event, delivery) if event else None
    is_missing = commission is not None and commission.state != State.SUCCEEDED
    if commission and is_missing and not run.receiver.endswith(NOT_NEEDED):
        commissions.settle(
            commission,
            State.FAILED,
            commission.resource_id,
            said=f"{run.receiver} gave up.",
            error="It ended, but the studio could not keep what came of it. See the deliveries.",
        )


def _commission(
    event: Event, delivery: WebhookDelivery, *, any_try: bool = False
) -> Commission | None:
    """The commission that the event is about, unless a later try has taken its place."""
    metadata = _vouched_for(event, delivery)
    if not isinstance(metadata.get("commission"), int):
        return None
    commission = (
        Commission.objects.select_related("tenant")
        .filter(pk=metadata["commission"], tenant__slug=metadata.get("tenant"))
        .first()
    )
    if commission is None or (commission.tries != policy.try_of(event) and not any_try):
        return None
    return commission


def _vouched_for(event: Event, delivery: WebhookDelivery) -> Mapping[str, Any]:
    """Metadata that this site has given: by its seal, or from its own ledger of jobs.

    Nobody else can make an event belong to a tenant.
    """
    if delivery.sealed:
        return event.user_metadata
    job = Job.objects.filter(resource_id=bare_id(event.resource_id)).first()
    return job.user_metadata if job else {}


def _reason(event: Event) -> str:
    code = policy.code_of(event)
    return ": ".join(filter(None, (code, event.error_message))) or event.type


def _store_rows(event: Event, result: ResultFile, *, tenant: str) -> None:
    BatchRow.objects.bulk_create(
        (
            BatchRow(
                batch_id=bare_id(event.resource_id),
                tenant=tenant,
                key=row["key"],
                text=_text(row.get("response") or {}),
                error=(row.get("error") or {}).get("message", ""),
            )
            for row in result.rows()
        ),
        batch_size=500,
        ignore_conflicts=True,  # a replay brings the same rows again
    )


def _text(response: Mapping[str, Any]) -> str:
    return "".join(
        part.get("text", "")
        for candidate in response.get("candidates", [])[:1]
        for part in candidate.get("content", {}).get("parts", [])
    )
