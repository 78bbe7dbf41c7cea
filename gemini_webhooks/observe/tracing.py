"""OpenTelemetry: one trace from the request over the tasks to the receivers.

Only the API is used: without an SDK, which is the site's to choose, nothing is recorded. What is
carried to the workers has a message header of its own, so that an instrumentation of Celery and
this do not overwrite each other's.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextvars import Token
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from gemini_webhooks import __version__, logs
from gemini_webhooks.observe.activities import (
    Activity,
    Message,
    Request,
    Sending,
)
from gemini_webhooks.observe.observers import Observer

#: The message header that carries a trace on.
HEADER = "gemini_webhooks_trace"
PREFIX = "gemini_webhooks."
MAX_FRAMES = 30
MAX_TYPE_LENGTH = 255
#: Outcomes that are no trouble, although there may be an exception.
FINE = {"", "succeeded", "skipped", "postponed", "complete", "busy"}

tracer = trace.get_tracer("gemini_webhooks", __version__)


class Observing(Observer):
    """Makes a span of each activity."""

    def begin(self, activity: Activity) -> tuple[Span, Token[Context]]:
        """Start its span and make it the current one."""
        parent, links = _origin(activity)
        span = tracer.start_span(
            activity.title,
            context=parent,
            kind=_kind(activity),
            attributes=_attributes(activity),
            links=links,
        )
        token = context.attach(trace.set_span_in_context(span, parent))
        if isinstance(activity, Sending):
            propagate.inject(carrier := dict[str, str]())
            if carrier:
                activity.headers[HEADER] = carrier
        return span, token

    def end(self, activity: Activity, begun: tuple[Span, Token[Context]]) -> None:
        """End it, with what has become known meanwhile."""
        span, token = begun
        context.detach(token)
        if span.is_recording():
            _complete(span, activity)
        span.end()

    def is_traced(self) -> bool:
        """Whether there is a span, which needs an SDK."""
        return trace.get_current_span().get_span_context().is_valid

    def received(self, event_type: str | None, signing: str, outcome: str) -> None:
        """Note it on the span of the request."""
        _note(event_type=(event_type or "")[:MAX_TYPE_LENGTH], signing=signing, outcome=outcome)

    def refused(self, code: str) -> None:
        """Note it on the span of the request."""
        _note(outcome="refused", code=code)

    def fetched(self, size: int) -> None:
        """Note it on the span of the fetch."""
        _note(bytes=size)


def _origin(activity: Activity) -> tuple[Context, list[Link]]:
    """What the activity is a part of, and what else it came from."""
    here = context.get_current()
    current = trace.get_current_span(here).get_span_context()
    if isinstance(activity, Sending) and activity.detached:
        return Context(), [Link(current)] if current.is_valid else []
    if not isinstance(activity, Message):
        return here, []
    carried = propagate.extract(_carrier(activity.headers), context=here)
    if not current.is_valid:
        return carried, []
    # Somebody instruments Celery: his span is the parent, whatever trace that is in.
    sent = trace.get_current_span(carried).get_span_context()
    return here, [Link(sent)] if sent.trace_id != current.trace_id else []


def _carrier(headers: Mapping[str, Any]) -> dict[str, str]:
    """What came in the header; anybody who can write to the broker can write it."""
    carried = headers.get(HEADER)
    if not isinstance(carried, dict):
        return {}
    return {key: value for key, value in carried.items() if isinstance(value, str)}


def _kind(activity: Activity) -> SpanKind:
    match activity:
        case Sending():
            return SpanKind.PRODUCER
        case Message():
            return SpanKind.CONSUMER
        case Request() if not trace.get_current_span().get_span_context().is_valid:
            return SpanKind.SERVER
        case _:
            return SpanKind.INTERNAL


def _attributes(activity: Activity) -> dict[str, str]:
    """Named by the semantic conventions for HTTP and messaging where they have a name."""
    match activity:
        case Request():
            return {"http.request.method": activity.method, "http.route": activity.route}
        case Sending():
            return _messaging("send", activity.task, activity.queue)
        case Message():
            given = {"messaging.message.id": activity.message_id}
            return _messaging("process", activity.task, activity.queue) | given
        case _:
            return {}


def _messaging(operation: str, task: str, queue: str) -> dict[str, str]:
    return {
        "messaging.system": "celery",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
        "celery.task_name": task,
    }


def _complete(span: Span, activity: Activity) -> None:
    about = logs.current()
    for name in logs.FIELDS:
        if value := getattr(about, name):
            span.set_attribute(PREFIX + name, value)
    if isinstance(activity, Request):
        span.set_attribute("http.response.status_code", activity.status)
        if activity.status >= 500:
            _mark(span, activity.error, str(activity.status))
        return
    if isinstance(activity, Sending) and activity.message_id:
        span.set_attribute("messaging.message.id", activity.message_id)
    if activity.outcome:
        span.set_attribute(PREFIX + "outcome", activity.outcome)
    if activity.outcome not in FINE or (activity.error and not activity.outcome):
        _mark(span, activity.error, activity.outcome)


def _mark(span: Span, error: BaseException | None, otherwise: str) -> None:
    """Mark the span as failed.

    By the type of the error and the way to it, never by its text: that may quote the payload.
    """
    kind = _full_name(type(error)) if error else otherwise
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, kind))
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
        stack = "".join(traceback.format_list(frames))
        span.add_event("exception", {"exception.type": kind, "exception.stacktrace": stack + kind})


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _note(**attributes: str | int) -> None:
    span = trace.get_current_span()
    if span.is_recording():
        for name, value in attributes.items():
            span.set_attribute(PREFIX + name, value)
