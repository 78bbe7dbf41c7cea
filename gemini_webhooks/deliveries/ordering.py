"""Which event of a resource is the newest, and who may act on it."""

from __future__ import annotations

from hashlib import sha256

from django.db import connections
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from gemini_webhooks import clock
from gemini_webhooks.deliveries.common import alias, rows
from gemini_webhooks.events import CATALOGUE, UNDOCUMENTED_ENDS, bare_id
from gemini_webhooks.models import ResourceLock, WebhookDelivery

#: Types of event that say how a job stands.
TELLING = (*CATALOGUE, *UNDOCUMENTED_ENDS)


def about(*names: str) -> QuerySet[WebhookDelivery]:
    """Deliveries about a resource, however its name is written.

    MariaDB and MySQL find those whose names differ in case only, too.
    """
    return rows(WebhookDelivery).filter(resource_id__in=spellings(*names))


def told_of(*names: str) -> QuerySet[WebhookDelivery]:
    """Those of :func:`about` that Google vouches for: a recording proves nothing of a job."""
    return about(*names).exclude(source=WebhookDelivery.Source.RECORDING)


def spellings(*names: str) -> set[str]:
    """How the name of a resource may be written in a delivery."""
    bare = {bare_id(name) for name in names if name}
    return {*filter(None, names), *bare, *(f"batches/{name}" for name in bare)}


def is_superseded(delivery: WebhookDelivery) -> bool:
    """Whether a newer event of the same resource is stored.

    Only types count that say how a job stands: one that Google adds some day must not keep
    receivers from work. The order is total: by the time at which things happened, where Google
    said it, else of their receipt; among equals by the order in which they were stored.
    """
    if not delivery.resource_id:
        return False
    moment = delivery.occurred_at or delivery.received_at
    is_recording = delivery.source == WebhookDelivery.Source.RECORDING
    others = about if is_recording else told_of
    newer = (
        others(delivery.resource_id)
        .filter(event_type__in=TELLING)
        .annotate(moment=Coalesce("occurred_at", "received_at"))
        .filter(Q(moment__gt=moment) | Q(moment=moment, pk__gt=delivery.pk))
    )
    bare = bare_id(delivery.resource_id)
    return any(bare_id(name) == bare for name in newer.values_list("resource_id", flat=True))


def hold_resource(delivery: WebhookDelivery) -> None:
    """Wait until no other transaction holds the delivery's resource, and hold it until this ends.

    One statement that writes one row, whether it is there or not: so it is an exclusive lock on
    every database. No other statement touches these rows, so no request waits for a receiver.

    Raises:
        django.db.OperationalError: the database did not want to wait any longer.
    """
    digest = sha256(bare_id(delivery.resource_id).encode()).hexdigest()
    named = connections[alias()].features.supports_update_conflicts_with_target
    rows(ResourceLock).bulk_create(
        [ResourceLock(name=digest[:4], taken_at=clock.now())],
        update_conflicts=True,
        update_fields=["taken_at"],
        unique_fields=["name"] if named else None,
    )
