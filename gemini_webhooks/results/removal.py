"""Removes stored result files; the rows stay and say so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from gemini_webhooks import deliveries, logs
from gemini_webhooks.models import ResultFile, WebhookDelivery
from gemini_webhooks.results import claims, spool

logger = logs.get_logger(__name__)


def stored(before: datetime) -> QuerySet[ResultFile]:
    """Result files that were stored before a moment."""
    return claims.rows().filter(state=ResultFile.State.COMPLETE, finished_at__lt=before)


def stored_among(ids: Sequence[int]) -> QuerySet[ResultFile]:
    """Those of some results of which a file is stored."""
    return claims.rows().filter(pk__in=ids, state=ResultFile.State.COMPLETE)


def unread(results: QuerySet[ResultFile]) -> QuerySet[ResultFile]:
    """Those of finished deliveries; the runs of others may still want to read them."""
    own = deliveries.rows(WebhookDelivery).filter(pk=OuterRef("delivery"))
    return results.filter(Exists(deliveries.finished(own)))


def remove(result: ResultFile) -> bool:
    """Delete the file of a complete result, then note that it is gone.

    Who is interrupted in between does it again: storages do not mind deleting what is not there.

    Returns:
        Whether it is gone. If not, the log says why.
    """
    if not delete_file(result):
        return False
    claims.removed(result)
    return True


def delete_file(result: ResultFile) -> bool:
    """Delete what is stored of a result, whole or in part; ``False``: the storage refused."""
    spool.discard(result.pk, result.source_uri)
    if not result.file.name:
        return True
    try:
        result.file.storage.delete(result.file.name)
    except Exception as error:  # noqa: BLE001  # a storage may raise anything
        kind = type(error).__name__  # its text may quote the name, which nobody is to guess
        logger.error("file of result %s not deleted: %s", result.pk, kind)  # noqa: TRY400  # likewise
        return False
    return True
