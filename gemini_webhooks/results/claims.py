"""The only writer of ``ResultFile`` rows once they exist.

Every change is one conditional UPDATE: a worker whose lease ended, and whose row somebody else
took, changes nothing any more and learns that from :class:`ClaimLost`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q, QuerySet

from gemini_webhooks import clock, deliveries
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import ResultFile
from gemini_webhooks.storable import storable_text

#: A worker that has not renewed its claim for so long is taken for dead.
LEASE_SECONDS = 60
MAX_ERROR_LENGTH = 2000


class ClaimLost(GeminiWebhooksError):
    """Somebody else fetches this file now."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A result file that this process may fetch until the lease ends."""

    result: ResultFile
    token: str


def rows() -> QuerySet[ResultFile]:
    """Result files in the database that is written to: a replica may be behind."""
    return ResultFile.objects.using(deliveries.alias())


def take(result_id: int) -> Claim | None:
    """Take a file that is due, or whose worker is gone; ``None`` if there is nothing to take."""
    now = clock.now()
    waiting = Q(
        state__in=(ResultFile.State.PENDING, ResultFile.State.RETRYING), next_attempt_at__lte=now
    )
    abandoned = Q(state=ResultFile.State.FETCHING, lease_until__lt=now)
    token = uuid.uuid4().hex
    mine = (
        rows()
        .filter(waiting | abandoned, pk=result_id)
        .update(
            state=ResultFile.State.FETCHING,
            claim=token,
            lease_until=clock.after(LEASE_SECONDS),
            attempts=F("attempts") + 1,
            next_attempt_at=None,
            sweeps=0,
        )
    )
    if not mine:
        return None
    taken = rows().select_related("delivery__endpoint").defer("delivery__body")
    result = taken.filter(pk=result_id, claim=token).first()
    return Claim(result=result, token=token) if result else None


def renew(
    held: Claim, *, bytes_done: int, size: int | None, seconds: float = LEASE_SECONDS
) -> None:
    """Extend the lease to ``seconds`` from now and show the progress.

    Of a file that is fetched again none is shown: what is known is about the one that is stored.

    Raises:
        ClaimLost: somebody else has it.
    """
    progress = {} if held.result.file else {"bytes_done": bytes_done, "size": size}
    _update(held, lease_until=clock.after(seconds), **progress)


def complete(held: Claim, **columns: Any) -> None:
    """The file is stored and checked.

    Raises:
        ClaimLost: somebody else has it.
    """
    _update(
        held,
        state=ResultFile.State.COMPLETE,
        error="",
        lease_until=None,
        finished_at=clock.now(),
        **columns,
    )


def retry(held: Claim, error: str, seconds: float) -> None:
    """This attempt failed; there will be another one ``seconds`` from now.

    Raises:
        ClaimLost: somebody else has it.
    """
    _update(
        held,
        state=ResultFile.State.RETRYING,
        error=storable_text(error, MAX_ERROR_LENGTH),
        lease_until=None,
        next_attempt_at=clock.after(seconds),
    )


def fail(held: Claim, error: str) -> None:
    """The file will not be fetched. One that was there before is still good.

    Raises:
        ClaimLost: somebody else has it.
    """
    ended: dict[str, Any] = {"state": ResultFile.State.FAILED, "finished_at": clock.now()}
    if held.result.file:
        ended = {"state": ResultFile.State.COMPLETE}  # since it was stored, for retention
    _update(held, error=storable_text(error, MAX_ERROR_LENGTH), lease_until=None, **ended)


def removed(result: ResultFile) -> None:
    """The file of a complete result is not in the storage any more; all else stays known."""
    same = rows().filter(pk=result.pk, state=ResultFile.State.COMPLETE, file=result.file.name)
    same.update(state=ResultFile.State.REMOVED, file="")


def _update(held: Claim, **changes: Any) -> None:
    mine = rows().filter(pk=held.result.pk, claim=held.token, state=ResultFile.State.FETCHING)
    if not mine.update(**changes):
        raise ClaimLost(f"result file {held.result.pk} was taken over by another worker")
