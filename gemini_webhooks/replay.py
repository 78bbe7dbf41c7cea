"""Runs a stored delivery again: all of it, some receivers, or only its result file."""

from __future__ import annotations

from collections.abc import Sequence

from gemini_webhooks import deliveries, dispatch
from gemini_webhooks.exceptions import GeminiWebhooksError, PayloadPruned
from gemini_webhooks.models import WebhookDelivery


class NothingToReplay(GeminiWebhooksError):
    """The delivery has no such receiver, or all of them are being executed right now."""


def replay(
    delivery: WebhookDelivery, *, receivers: Sequence[str] | None = None, actor: str
) -> list[int]:
    """Run receivers of a delivery again, whatever became of them before.

    They start with all their attempts before them, keep the webhook id, are told
    ``event.is_replay``, and their attempts name the actor.

    Args:
        delivery: a stored delivery.
        receivers: stable names; ``None`` for all of them.
        actor: who asked for it, for the audit.

    Returns:
        The ids of the runs that are due again. Empty for a delivery that had no receiver: it is
        planned anew, with the receivers that are connected now.

    Raises:
        PayloadPruned: the body was removed by retention.
        NothingToReplay: there is no such receiver, it is being executed now, or the body is
            not JSON.
    """
    if delivery.body is None:
        raise PayloadPruned(f"the body of {delivery.webhook_id} was removed by retention")
    if receivers is None and deliveries.restart(delivery):
        dispatch.hand_off(delivery.pk)
        return []
    runs = delivery.runs.all()
    if receivers is not None:
        runs = runs.filter(receiver__in=receivers)
    reopened = deliveries.reopen(delivery, runs, actor=actor)
    if not reopened:
        raise NothingToReplay(
            f"nothing to replay for {delivery.webhook_id}: no such receiver, or it is running now"
        )
    dispatch.hand_off_runs(reopened)
    return reopened
