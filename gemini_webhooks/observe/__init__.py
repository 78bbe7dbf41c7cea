"""Says what happens, for log lines and for those who observe.

One line where something happens is all that other modules have of it. Prometheus and
OpenTelemetry are observers, each only if the site uses its library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse

from gemini_webhooks import clock, logs
from gemini_webhooks.models import ReceiverRun, ResultFile, WebhookDelivery
from gemini_webhooks.observe.activities import (
    Attempt,
    Fetch,
    Message,
    Planning,
    Request,
    Sending,
)
from gemini_webhooks.observe.observers import Observer, is_traced, observing, start, tell, watching

__all__ = [
    "Observer",
    "about",
    "attempt",
    "fetched",
    "fetching",
    "gave_up",
    "identified",
    "is_traced",
    "message",
    "not_handed_off",
    "planning",
    "processed",
    "received",
    "refused",
    "request",
    "sending",
    "start",
]

Arguments = ParamSpec("Arguments")

#: Others are told apart by nobody; that is their name in OpenTelemetry's conventions.
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def request(
    view: Callable[Concatenate[HttpRequest, Arguments], HttpResponse],
) -> Callable[Concatenate[HttpRequest, Arguments], HttpResponse]:
    """Decorate the view that receives."""

    @wraps(view)
    def observed(
        asked: HttpRequest, /, *args: Arguments.args, **words: Arguments.kwargs
    ) -> HttpResponse:
        with logs.about(logs.NOTHING):
            if not observing():
                return view(asked, *args, **words)
            route = asked.resolver_match.route if asked.resolver_match else ""
            method = asked.method if asked.method in METHODS else "_OTHER"
            with watching(Request(method=method, route=route)) as seen:
                answer = view(asked, *args, **words)
                seen.status = answer.status_code
                return answer

    return observed


def identified(webhook_id: str) -> None:
    """The request says which event it brings; it is not verified yet."""
    logs.learned(webhook_id=webhook_id)


def received(event_type: str | None, signing: str, *, created: bool, delivery_id: int) -> None:
    """The request was verified and its event stored, now or before."""
    logs.learned(delivery_id=str(delivery_id))
    tell("received", event_type, signing, "accepted" if created else "duplicate")


def refused(code: str) -> None:
    """The request is refused or put off."""
    tell("refused", code)


def sending(task: str, queue: str, *, detached: bool) -> AbstractContextManager[Sending]:
    """A message is sent; its ``headers`` have to go with it."""
    return watching(Sending(task=task, queue=queue, detached=detached))


def message(
    task: str, queue: str, message_id: str, headers: Mapping[str, Any]
) -> AbstractContextManager[Message]:
    """A worker does what a message says."""
    return watching(Message(task=task, queue=queue, message_id=message_id, headers=headers))


def not_handed_off(reason: str) -> None:
    """A message was not sent: ``timeout``, or ``cooling_down``. Errors are seen in sending."""
    tell("not_handed_off", reason)


@contextmanager
def about(row: WebhookDelivery | ReceiverRun | ResultFile) -> Iterator[None]:
    """Log lines are about ``row`` and its delivery."""
    delivery = row if isinstance(row, WebhookDelivery) else row.delivery
    subject = logs.Subject(
        webhook_id=delivery.webhook_id,
        delivery_id=str(delivery.pk),
        receiver=row.receiver if isinstance(row, ReceiverRun) else "",
        attempt="" if isinstance(row, WebhookDelivery) else str(row.attempts),
    )
    with logs.about(subject):
        yield


@contextmanager
def planning(delivery: WebhookDelivery) -> Iterator[None]:
    """A delivery is taken into processing."""
    with about(delivery), watching(Planning()):
        yield


@contextmanager
def attempt(run: ReceiverRun, endings: Mapping[type[BaseException], str]) -> Iterator[Attempt]:
    """A receiver runs.

    Args:
        run: its run.
        endings: the outcome of what it may raise; anything else is a failure.
    """
    with watching(Attempt(receiver=run.receiver, outcome="succeeded")) as seen:
        try:
            yield seen
        except BaseException as error:
            seen.outcome = endings.get(type(error), "failed")
            raise


def processed(delivery: WebhookDelivery) -> None:
    """The last receiver of a delivery is done."""
    waited = datetime.now(UTC) - clock.aware(delivery.received_at)
    tell("processed", delivery.event_type, max(0.0, waited.total_seconds()))


def gave_up(run: ReceiverRun) -> None:
    """A run will not be tried again."""
    tell("gave_up", run.receiver)


@contextmanager
def fetching(result: ResultFile) -> Iterator[Fetch]:
    """A result file is fetched; say the ``outcome``."""
    with about(result), watching(Fetch(outcome="failed")) as seen:
        yield seen


def fetched(size: int) -> None:
    """So many bytes of it came, now."""
    tell("fetched", size)
