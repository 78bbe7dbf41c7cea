"""Pauses processing for a while, and takes it up again: deliveries keep being stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from gemini_webhooks import clock, dispatch, processing, receivers
from gemini_webhooks.deliveries import pauses, rows
from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.models import Pause, ReceiverRun, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.storable import is_storable

#: What the root endpoint is called.
ROOT = "root endpoint"
#: The largest rate, in runs per minute.
MAX_RATE = 1_000_000
#: So many runs are let go at once by who resumes; sweeps do the rest.
FIRST = 100
#: So many names of receivers are looked up in the table of their runs.
MOST_NAMES = 500


class PausingError(GeminiWebhooksError):
    """Nothing was paused or resumed; the message says why."""


class UnknownName(PausingError):
    """There is no such endpoint, or no such receiver has ever run or is connected."""


class AlreadyPaused(PausingError):
    """It is paused, and by whom."""


class NotPaused(PausingError):
    """It is not paused, or not any more."""


class InvalidRate(PausingError, ValueError):
    """That is no number of runs per minute."""


@dataclass(frozen=True, kw_only=True)
class Paused:
    """Something that is paused, or still letting go.

    Attributes:
        pause: who paused it, when and why.
        held: how many runs it holds now.
    """

    pause: Pause
    held: int


def pause(
    *,
    receiver: str | None = None,
    endpoint: str | None = None,
    root: bool = False,
    actor: str,
    reason: str = "",
    unknown_ok: bool = False,
) -> Pause:
    """Hold the runs of a receiver, or those of all deliveries that came in at one address.

    Deliveries go on being received, stored and taken up, and result files being fetched. What is
    being executed at this moment ends; what becomes due is held and costs no attempt. What is
    being let go of an earlier pause of the same is held again.

    Args:
        receiver: its stable name, as its runs carry it.
        endpoint: the slug of a registered endpoint.
        root: the root endpoint, and with it deliveries whose endpoint was deleted.
        actor: who asks for it.
        reason: for whoever finds it paused.
        unknown_ok: take a receiver that has never run and is not connected in this process.

    Raises:
        UnknownName: there is no such receiver or endpoint.
        AlreadyPaused: it is paused.
        ValueError: not exactly one of the three is named.
    """
    target = _target(receiver, endpoint, root=root)
    if target.receiver and not unknown_ok and not _is_known(target.receiver):
        raise UnknownName(f"No receiver “{target.receiver}” has ever run or is connected here.")
    begun = pauses.begin(
        kind=target.kind,
        receiver=target.receiver,
        endpoint_id=target.endpoint.pk if target.endpoint else None,
        actor=actor,
        reason=reason,
    )
    if begun is None:
        raise AlreadyPaused(f"“{target.name}” is paused already{_since(target.lasting())}.")
    return begun


def resume(pause: Pause, *, rate: int | None = None, actor: str) -> Pause:
    """Let go what a pause holds, the oldest first. New deliveries are processed at once again.

    The first ones are handed off as soon as the current transaction has committed, the others by
    the sweeps that follow. A pause that is letting go already does so at the new rate.

    Args:
        pause: that has not ended.
        rate: how many runs per minute are to start; ``None``: as fast as the workers can.
        actor: who asks for it.

    Returns:
        The pause as it is then.

    Raises:
        NotPaused: it has ended.
        InvalidRate: the rate is no whole number from 1 to a million.
    """
    if rate is not None and not (type(rate) is int and 1 <= rate <= MAX_RATE):
        raise InvalidRate(f"The rate is a whole number from 1 to {MAX_RATE} runs per minute.")
    if not pauses.lift(pause.pk, rate=rate, actor=actor):
        raise NotPaused(f"The pause of “{name_of(pause)}” has ended before.")
    dispatch.hand_off_all(partial(processing.let_go, FIRST))
    return rows(Pause).select_related("endpoint").get(pk=pause.pk)


def find(*, receiver: str | None = None, endpoint: str | None = None, root: bool = False) -> Pause:
    """The pause of something that is paused, or still letting go.

    Raises:
        NotPaused: there is none.
        UnknownName: there is no such endpoint.
        ValueError: not exactly one of the three is named.
    """
    target = _target(receiver, endpoint, root=root)
    row = target.lasting()
    if row is None:
        raise NotPaused(f"“{target.name}” is not paused.")
    return row


def paused() -> list[Paused]:
    """What is paused or still letting go, the oldest pause first."""
    lasting = pauses.lasting().select_related("endpoint").order_by("paused_at", "pk")
    return [Paused(pause=row, held=held_by(row)) for row in lasting]


def name_of(pause: Pause) -> str:
    """What is paused, as commands name it: the receiver, the endpoint's slug, or the root."""
    slug = pause.endpoint.slug if pause.endpoint else ROOT
    return pause.receiver if pause.kind == Pause.Kind.RECEIVER else slug


def held_by(pause: Pause) -> int:
    """How many runs a pause holds now."""
    return pauses.held(pause.pk)


def known_receivers() -> list[str]:
    """Names of receivers that have run, or are connected in this process."""
    return sorted({*pauses.receivers_that_ran(MOST_NAMES), *receivers.names(WebhookDelivery)})


@dataclass(frozen=True, kw_only=True)
class _Target:
    """What is meant."""

    kind: Pause.Kind
    receiver: str = ""
    endpoint: WebhookEndpoint | None = None

    @property
    def name(self) -> str:
        slug = self.endpoint.slug if self.endpoint else ROOT
        return self.receiver if self.kind == Pause.Kind.RECEIVER else slug

    def lasting(self) -> Pause | None:
        found = pauses.lasting().filter(kind=self.kind, endpoint=self.endpoint)
        return found.filter(receiver=self.receiver).select_related("endpoint").first()


def _target(receiver: str | None, endpoint: str | None, *, root: bool) -> _Target:
    if (receiver is not None) + (endpoint is not None) + root != 1:
        raise ValueError("name a receiver, an endpoint or the root endpoint: one of them")
    if receiver is not None:
        if not (is_storable(receiver) and 0 < len(receiver) <= receivers.MAX_NAME_LENGTH):
            raise UnknownName("No receiver can have that name.")
        return _Target(kind=Pause.Kind.RECEIVER, receiver=receiver)
    if endpoint is None:
        return _Target(kind=Pause.Kind.ROOT)
    row = rows(WebhookEndpoint).filter(slug=endpoint).first() if is_storable(endpoint) else None
    if row is None:
        raise UnknownName(f"There is no endpoint “{endpoint}”.")
    return _Target(kind=Pause.Kind.ENDPOINT, endpoint=row)


def _is_known(receiver: str) -> bool:
    ran = rows(ReceiverRun).filter(receiver=receiver)
    return ran.exists() or receiver in receivers.names(WebhookDelivery)


def _since(pause: Pause | None) -> str:
    if pause is None:  # it ended at this moment
        return ""
    return f", since {clock.aware(pause.paused_at):%Y-%m-%d %H:%M} UTC, by {pause.paused_by}"
