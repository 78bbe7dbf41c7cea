"""Stores a result file that need not be fetched, as somebody brings its content."""

from __future__ import annotations

import io
import uuid

from django.core.files import File

from gemini_webhooks import clock
from gemini_webhooks.conf import settings
from gemini_webhooks.exceptions import ResultError
from gemini_webhooks.models import ResultFile, WebhookDelivery
from gemini_webhooks.results import claims, names, removal, rows
from gemini_webhooks.storable import storable_text

MAX_SOURCE_LENGTH = 1500


def supply(
    delivery: WebhookDelivery, *, position: int, source: str, content: bytes, content_type: str = ""
) -> ResultFile:
    """Store a complete result file of a delivery that has none at this position.

    Args:
        delivery: whose.
        position: 0 for the first.
        source: where it was, for people; its ending tells what it is.
        content: all of it.
        content_type: may be empty.

    Raises:
        ResultError: the storage did not take it.
        django.db.Error: the row could not be written; nothing is left in the storage.
    """
    now = clock.now()
    result = ResultFile(
        delivery=delivery,
        position=position,
        source_uri=storable_text(source, MAX_SOURCE_LENGTH),
        content_type=storable_text(content_type, 255),
        state=ResultFile.State.COMPLETE,
        bytes_done=len(content),
        size=len(content),
        finished_at=now,
    )
    counter = rows.Counter(name=names.base_name(source), content_type=content_type)
    counter.feed(content)
    counted = counter.finish()
    result.rows, result.failed_rows = counted.rows, counted.failed
    name = names.storage_name(
        created_at=now, delivery_id=delivery.pk, token=uuid.uuid4().hex, uri=source
    )
    try:
        result.file.save(name, File(io.BytesIO(content), name=name), save=False)
    except Exception as error:
        raise ResultError(
            f"storage {settings.RESULT_STORAGE!r} did not take it: {type(error).__name__}",
            permanent=False,
        ) from error
    try:
        result.save(using=claims.rows().db, force_insert=True)
    except BaseException:
        removal.delete_file(result)
        raise
    return result
