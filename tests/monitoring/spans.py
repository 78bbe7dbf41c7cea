"""Spans as they are exported, from this process or another."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Seen:
    """A span, wherever it was made."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str | None
    status: str
    attributes: dict[str, Any]
    events: list[dict[str, Any]]
    links: list[str]
    text: str


def read(span: dict[str, Any]) -> Seen:
    return Seen(
        name=span["name"],
        kind=span["kind"].removeprefix("SpanKind."),
        trace=span["context"]["trace_id"],
        id=span["context"]["span_id"],
        parent=span["parent_id"],
        status=span["status"]["status_code"],
        attributes=span["attributes"],
        events=span["events"],
        links=[link["context"]["trace_id"] for link in span["links"]],
        text=json.dumps(span),
    )


Spans = Callable[[], list[Seen]]


def one(seen: list[Seen], name: str) -> Seen:
    [found] = [span for span in seen if span.name == name]
    return found
