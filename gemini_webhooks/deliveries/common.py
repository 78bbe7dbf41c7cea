"""What the modules of this package share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from django.db import router
from django.db.models import DateTimeField, DurationField, F, Model, QuerySet, Value
from django.db.models.expressions import Combinable, CombinedExpression, ExpressionWrapper
from django.db.models.functions import Coalesce

from gemini_webhooks import clock
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import ReceiverRun, WebhookDelivery

#: A worker that has not renewed its claim for so long is taken for dead.
LEASE_SECONDS = 60
#: How long the hand-off of a delivery or run may take before the sweeper repeats it.
SWEEP_GRACE_SECONDS = 60

ModelType = TypeVar("ModelType", bound=Model)

UNFINISHED = (
    ReceiverRun.State.PENDING,
    ReceiverRun.State.RUNNING,
    ReceiverRun.State.RETRYING,
)
WAITING = (ReceiverRun.State.PENDING, ReceiverRun.State.RETRYING)
#: What an UPDATE of a run writes that no pause holds any more.
NOT_HELD: Mapping[str, None] = {"held_at": None, "held_by": None}


class LeaseLost(GeminiWebhooksError):
    """Somebody else holds the run now; whatever was done for it must be rolled back."""


def done_now() -> dict[str, object]:
    """What an UPDATE that brings a delivery to a final state writes beside the state."""
    return done_at(Value(clock.now(), DateTimeField()))


def done_at(moment: Combinable) -> dict[str, object]:
    """As :func:`done_now`, for a ``moment``."""
    since_receipt: CombinedExpression = moment - F("received_at")
    first = ExpressionWrapper(since_receipt, output_field=DurationField())
    return {"settled_at": moment, "took": Coalesce(F("took"), first)}


def alias() -> str:
    """The database of the deliveries, as the site's routers have it."""
    return router.db_for_write(WebhookDelivery)


def rows(model: type[ModelType]) -> QuerySet[ModelType]:
    """Rows of ``model`` in the database that is written to: a replica may be behind."""
    return model._default_manager.using(alias())  # Django's documented name
