"""Runs a stored delivery again: all of it, or some of its receivers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gemini_webhooks import deliveries, dispatch, events, processing
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import WebhookDelivery


class NothingToReplay(GeminiWebhooksError):
    """The delivery has no such receiver, or all of them are being executed right now."""


def replay(
    delivery: WebhookDelivery, *, receivers: Sequence[str] | None = None, actor: str
) -> list[int]:
    """Run receivers of a delivery again, whatever became of them before.

    They start with all their attempts before them, keep the webhook id, are told
    ``event.is_replay``, and their attempts name the actor. Receivers that were connected since
    are run as well. Those of ``result_ready`` wait for the result file; one that could not be
    fetched is fetched again.

    Args:
        delivery: a stored delivery.
        receivers: stable names; ``None`` for all of them.
        actor: who asked for it, for the audit.

    Returns:
        The ids of the runs.

    Raises:
        PayloadPruned: the body was removed by retention.
        NothingToReplay: there is no such receiver, it is being executed now, the delivery was
            not processed for the first time yet, or its body is not JSON.
    """
    delivery = deliveries.rows(WebhookDelivery).get(pk=delivery.pk)
    if delivery.state == WebhookDelivery.State.RECEIVED:
        raise NothingToReplay(
            f"{delivery.webhook_id} was not processed for the first time yet; a sweep hands it off"
        )
    try:
        event = events.parse(deliveries.stored(delivery), is_replay=True)
    except events.Unreadable as error:
        raise NothingToReplay(f"{delivery.webhook_id} is unreadable: {error}") from None
    plan = processing.planned_for(event)
    reopened = deliveries.reopen(delivery, plan, names=receivers, actor=actor)
    if not reopened:
        raise NothingToReplay(
            f"nothing to replay for {delivery.webhook_id}: no such receiver, or it is running now"
        )
    dispatch.hand_off_all(partial(processing.handoffs_of, delivery))
    return reopened
