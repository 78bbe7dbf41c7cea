"""What the modules of this package share."""

from __future__ import annotations

from typing import TypeVar

from django.db import router
from django.db.models import Model, QuerySet

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


class LeaseLost(GeminiWebhooksError):
    """Somebody else holds the run now; whatever was done for it must be rolled back."""


def alias() -> str:
    """The database of the deliveries, as the site's routers have it."""
    return router.db_for_write(WebhookDelivery)


def rows(model: type[ModelType]) -> QuerySet[ModelType]:
    """Rows of ``model`` in the database that is written to: a replica may be behind."""
    return model._default_manager.using(alias())  # Django's documented name
