"""Searches in long lists, each by an index where the database has one."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, Q, QuerySet

from gemini_webhooks.deliveries import metadata
from gemini_webhooks.events import bare_id
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.models import ReceiverRun, WebhookDelivery

#: So many ids are asked for as they are: then the database knows that they are few.
MOST_IDS = 500
#: So many different values of a column are looked at one by one.
MOST_VALUES = 200

Rows = QuerySet[Any]


def deliveries_called(start: str) -> Q:
    """Deliveries whose webhook id or resource id begins so, however the latter is written."""
    return Q(webhook_id__startswith=start) | resources_called(start)


def resources_called(start: str) -> Q:
    """Rows whose resource id begins so, with or without the ``batches/`` before it."""
    bare = bare_id(start)
    found = Q(resource_id__startswith=start)
    if bare:
        found |= Q(resource_id__startswith=bare) | Q(resource_id__startswith=f"batches/{bare}")
    return found


def with_metadata(rows: Rows, words: str) -> Rows:
    """Rows with a value in their metadata: ``tenant=acme``, or ``acme`` anywhere.

    Args:
        rows: deliveries.
        words: what was searched for. ``=acme`` is anywhere, too.
    """
    path, equals, value = words.partition("=")
    if not equals or not path:
        return rows.filter(metadata.anywhere(value if equals else words))
    try:
        return rows.filter(metadata.at_path(path, value))
    except ConfigurationError:
        return rows.filter(metadata.anywhere(words))


def runs_called(words: str) -> Q:
    """Runs whose receiver's name holds the words, or whose delivery's id begins so."""
    names = values(ReceiverRun, "receiver")
    if names is None:
        named = Q(receiver__icontains=words)
    else:
        named = Q(receiver__in=[name for name in names if words.casefold() in name.casefold()])
    return named | Q(delivery__in=few(WebhookDelivery, Q(webhook_id__startswith=words)))


def few(model: type[Model], condition: Q) -> Any:
    """Rows to be looked for in a foreign key, as ids if they are few."""
    found = model._default_manager.filter(condition).order_by()
    ids = list(found.values_list("pk", flat=True)[: MOST_IDS + 1])
    return found.values("pk") if len(ids) > MOST_IDS else ids


def values(model: type[Model], column: str) -> list[str] | None:
    """The different values of a column that an index begins with, other than the empty one.

    From each to the next by the index: ``DISTINCT`` would read all of it.

    Returns:
        ``None`` if there are more than :data:`MOST_VALUES`.
    """
    rows: Any = model._default_manager.order_by(column).values_list(column, flat=True)
    found: list[str] = []
    last = ""
    while (following := rows.filter(**{f"{column}__gt": last}).first()) is not None:
        if len(found) == MOST_VALUES:
            return None
        found.append(following)
        last = following
    return found
