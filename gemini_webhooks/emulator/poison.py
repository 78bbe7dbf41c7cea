"""Bodies that are signed like any event and hard to digest."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gemini_webhooks.emulator.messages import Message
from gemini_webhooks.emulator.resources import iso, new_id, now

DEEP = 50_000
MARK = b'"@"'
#: What stands for the id. Those that any parser of JSON reads come first: a job's metadata can
#: be found beside them.
READABLE: Mapping[str, bytes] = {
    "nul": rb'"poison_\u0000"',
    "surrogate": rb'"poison_\ud800"',
    "huge_number": b"1e999",
}
ALL: Mapping[str, bytes] = {
    **READABLE,
    "long_number": b"9" * 5_000,
    "deep": b"[" * DEEP + b"]" * DEEP,
    "not_utf8": b'"poison_\xff\xfe"',
    "not_json": b"poison",
}


def beside(message: Message, number: int) -> Message:
    """A message to the same recipient, under an id of its own.

    A receiver of dynamic webhooks may believe only what echoes the metadata of its job, so
    these get kinds that can hold it.

    Args:
        message: an event.
        number: the kinds take turns.
    """
    kinds = list(ALL if message.webhook else READABLE)
    kind = kinds[number % len(kinds)]
    event = _event(f"poison.{kind}", message.body)
    return Message(
        webhook_id=new_id("msg_"),
        recipient=message.recipient,
        event_type=f"poison.{kind}",
        body=event.replace(MARK, ALL[kind], 1),
        resource_id=message.resource_id,
        is_poison=True,
    )


def _event(event_type: str, body: bytes) -> bytes:
    data = {"id": "@"}
    metadata = json.loads(body)["data"].get("user_metadata")
    if metadata is not None:
        data["user_metadata"] = metadata
    event = {"type": event_type, "version": "v1", "timestamp": iso(now()), "data": data}
    return json.dumps(event, separators=(",", ":")).encode()
