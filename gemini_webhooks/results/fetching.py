"""Fetches one result file: claim, download, check, store, and say how it went."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Literal

from django.db import Error as DatabaseTrouble

from gemini_webhooks import deliveries, logs, observe
from gemini_webhooks.backoff import retry_delay
from gemini_webhooks.conf import settings
from gemini_webhooks.exceptions import ResultError
from gemini_webhooks.models import Job, ResultFile
from gemini_webhooks.results import claims, handing, names, rows, spool
from gemini_webhooks.results.claims import Claim, ClaimLost
from gemini_webhooks.results.sources import source_for
from gemini_webhooks.results.transfer import Transfer
from gemini_webhooks.results.types import Description

logger = logs.get_logger(__name__)

#: The claim is renewed, and the progress shown, this often at most.
PROGRESS_SECONDS = 1.0
#: What any storage takes at least. It reports no progress, so its lease is measured by this.
SLOWEST_STORAGE_BYTES_PER_SECOND = 1024**2


@dataclass(frozen=True, kw_only=True)
class FetchOutcome:
    """How a fetch ended.

    Attributes:
        state: ``complete`` or ``failed``: for good, now or before; ``retrying``: it is to be
            tried again; ``busy``: it is not due, or another worker has it.
        retry_in: seconds until it is due; for ``retrying`` only.
    """

    state: Literal["complete", "retrying", "failed", "busy"]
    retry_in: float | None = None


def fetch(result_id: int) -> FetchOutcome:
    """Fetch a result file if it is due and nobody else does.

    Nothing that goes wrong outside of this site is raised: it is written on the row.

    Args:
        result_id: primary key of the ``ResultFile``.

    Raises:
        django.db.Error: the row could not be read or written.
    """
    held = claims.take(result_id)
    if held is None:
        return _as_it_stands(result_id)
    with observe.fetching(held.result) as seen:
        outcome = _outcome(held)
        seen.outcome = outcome.state
        return outcome


def _outcome(held: Claim) -> FetchOutcome:
    try:
        return _attempt(held)
    except ClaimLost as lost:
        logger.warning("%s", lost)
        return FetchOutcome(state="busy")


def _as_it_stands(result_id: int) -> FetchOutcome:
    state = claims.rows().filter(pk=result_id).values_list("state", flat=True).first()
    if state == ResultFile.State.COMPLETE:
        return FetchOutcome(state="complete")
    return FetchOutcome(state="failed" if state == ResultFile.State.FAILED else "busy")


def _attempt(held: Claim) -> FetchOutcome:
    result = held.result
    try:
        _fetch(held)
    except ResultError as error:
        logger.warning("result file %s not fetched: %s", result.pk, error)
        if error.permanent or result.attempts >= settings.MAX_ATTEMPTS:
            claims.fail(held, str(error))
            spool.discard(result.pk, result.source_uri)
            return FetchOutcome(state="failed")
        delay = retry_delay(result.attempts)
        claims.retry(held, str(error), delay)
        return FetchOutcome(state="retrying", retry_in=delay)
    return FetchOutcome(state="complete")


def _fetch(held: Claim) -> None:
    result = held.result
    if result.attempts > settings.MAX_ATTEMPTS:
        raise ResultError("no worker survived fetching it", permanent=True)
    source = source_for(result.source_uri, _api_key_name(result))
    described = source.describe()
    progress = _Progress(held, described.size)
    with spool.part_file(result.pk, result.source_uri, described.generation) as file:
        counter = rows.Counter(
            name=names.base_name(result.source_uri), content_type=described.content_type
        )
        transfer = Transfer(file, described, counter, progress)
        progress(transfer.done, now=True)
        there = transfer.done
        try:
            if not transfer.is_whole:
                source.copy_to(transfer, described, transfer.done)
        finally:
            observe.fetched(transfer.done - there)
        transfer.verify()
        _store(held, file, described, transfer.done, counter.finish())


def _api_key_name(result: ResultFile) -> str:
    """The key that started the job, if this site did; otherwise that of the endpoint."""
    delivery = result.delivery
    jobs = Job.objects.using(deliveries.alias())
    job = jobs.filter(resource_id=delivery.resource_id.rpartition("/")[2]).first()
    if job:
        return job.api_key_name
    return delivery.endpoint.api_key_name if delivery.endpoint else "default"


class _Progress:
    """Renews the claim now and then; raises :class:`ClaimLost` once it is lost."""

    def __init__(self, held: Claim, size: int | None) -> None:
        self.held = held
        self.size = size
        self.shown_at = 0.0

    def __call__(self, done: int, *, now: bool = False) -> None:
        if not now and time.monotonic() - self.shown_at < PROGRESS_SECONDS:
            return
        self.shown_at = time.monotonic()
        try:
            claims.renew(self.held, bytes_done=done, size=self.size)
        except DatabaseTrouble as error:
            # The lease lasts for many turns: no reason to throw the download away.
            kind = type(error).__name__
            logger.warning("claim on result file %s not renewed: %s", self.held.result.pk, kind)


def _store(
    held: Claim, file: BinaryIO, described: Description, size: int, counted: rows.Count
) -> None:
    lease = max(claims.LEASE_SECONDS, size / SLOWEST_STORAGE_BYTES_PER_SECOND)
    claims.renew(held, bytes_done=size, size=size, seconds=lease)
    result = held.result
    name, replaced = _storage_name(held), result.file.name
    with _undone_on_error(result, name):
        with spool.disk_errors():
            file.seek(0)
        with handing.content_for(result.file.storage, name, file) as content:
            result.file.save(name, content, save=False)
        checksum = described.checksum
        claims.complete(
            held,
            file=result.file.name,
            size=size,
            bytes_done=size,
            generation=described.generation[:32],
            content_type=described.content_type[:255],
            crc32c=_base64(checksum.digest) if checksum and checksum.algorithm == "crc32c" else "",
            rows=counted.rows,
            failed_rows=counted.failed,
        )
    _discard(result, replaced)


def _discard(result: ResultFile, replaced: str | None) -> None:
    """Delete the file that a complete result had before it was fetched again."""
    if not replaced:
        return
    try:
        result.file.storage.delete(replaced)
    except Exception as error:  # noqa: BLE001  # a storage may raise anything
        kind = type(error).__name__  # its text may quote the name, which nobody is to guess
        logger.error("former file of result %s not deleted: %s", result.pk, kind)  # noqa: TRY400  # likewise


@contextmanager
def _undone_on_error(result: ResultFile, name: str) -> Iterator[None]:
    """Leave nothing in the storage that is not whole, or that no row names."""
    replaced = result.file.name
    try:
        yield
    except Exception as error:
        # Storages may choose another name, which is known once they have taken the file.
        stored = name if result.file.name in (None, "", replaced) else result.file.name
        with suppress(Exception):  # it may not even exist
            result.file.storage.delete(stored)
        if isinstance(error, (ClaimLost, DatabaseTrouble)):
            raise
        raise ResultError(
            f"storage {settings.RESULT_STORAGE!r} did not take it: {type(error).__name__}: "
            f"{str(error)[:500]}",
            permanent=False,
        ) from error


def _storage_name(held: Claim) -> str:
    """A name of this attempt only.

    So a worker that lost its claim can remove what it stored without touching the file of the one
    that has it, even in a storage that overwrites.
    """
    result = held.result
    return names.storage_name(
        created_at=result.created_at,
        delivery_id=result.delivery_id,
        token=held.token,
        uri=result.source_uri,
    )


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
