"""An interaction as a stream of server-sent events."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

from gemini_webhooks.emulator.resources import Interaction, iso

POLL_SECONDS = 0.05
#: Nothing for the client; for us, it finds out whether the client is still there.
KEEP_ALIVE = b": it runs\n\n"
END = b"event: done\ndata: [DONE]\n\n"
PIECE = re.compile(r"\s*\S+\s*")


def server_sent(
    interaction: Interaction, closing: threading.Event, after: str = ""
) -> Iterator[bytes]:
    """The events of a stream as they go over the wire; an interaction that runs is waited for.

    Args:
        interaction: its ids of events are the same in every stream.
        closing: breaks off the wait.
        after: begin behind the event with this id; empty for all of them.
    """
    yield from _encoded([*_first(interaction)], after, 1)
    while not interaction.outcome:
        yield KEEP_ALIVE
        if closing.wait(POLL_SECONDS):
            return
    yield from _encoded([*_rest(interaction)], after, 3)
    yield END


def _encoded(events: list[dict[str, Any]], after: str, first: int) -> Iterator[bytes]:
    for number, event in enumerate(events, first):
        if not after.isdecimal() or number > int(after):
            data = json.dumps({**event, "event_id": str(number)})
            yield f"event: {event['event_type']}\ndata: {data}\n\n".encode()


def _first(interaction: Interaction) -> Iterator[dict[str, Any]]:
    begun = {
        "id": interaction.id,
        "object": "interaction",
        "status": "in_progress",
        "created": iso(interaction.created),
    }
    yield {"event_type": "interaction.created", "interaction": begun}
    yield _status(interaction, "in_progress")


def _rest(interaction: Interaction) -> Iterator[dict[str, Any]]:
    for index, step in enumerate(interaction.steps()):
        yield from _step(index, step)
    if interaction.outcome != "succeeded":
        yield _status(interaction, interaction.status)
    if interaction.error is not None:
        error = {**interaction.error, "code": str(interaction.error["code"])}
        yield {"event_type": "error", "error": error}
    yield {"event_type": "interaction.completed", "interaction": interaction.as_json()}


def _step(index: int, step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    whole = {"event_type": "step.delta", "index": index}
    if step["type"] == "function_call":
        arguments = json.dumps(step["arguments"])
        begun = {**step, "arguments": {}}
        deltas = [{"type": "arguments_delta", "arguments": arguments}]
    else:
        begun = {"type": step["type"]}
        text = step["content"][0]["text"]
        deltas = [{"type": "text", "text": piece} for piece in PIECE.findall(text)]
    yield {"event_type": "step.start", "index": index, "step": begun}
    for delta in deltas:
        yield {**whole, "delta": delta}
    yield {"event_type": "step.stop", "index": index}


def _status(interaction: Interaction, status: str) -> dict[str, Any]:
    return {
        "event_type": "interaction.status_update",
        "interaction_id": interaction.id,
        "status": status,
    }
