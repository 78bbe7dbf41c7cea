"""What the emulated model says: the same input always gets the same answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gemini_webhooks.emulator import words
from gemini_webhooks.emulator.plans import INVALID_ARGUMENT, Plan

#: Two seconds of a disc that crosses the picture (H.264, as Veo's), which any player shows.
VIDEO = Path(__file__).with_name("video.mp4").read_bytes()
REFUSED = {"code": INVALID_ARGUMENT, "message": words.asked_for(words.FAIL_ROW)}
DIMENSIONS = 3072
#: Parts of a conversation that the model said.
OF_MODEL = {"model", "model_output", "function_call", "thought"}


def reply(text: str, planned: str | None = None) -> str:
    """The answer to ``text``: the one that is planned, or an echo."""
    if words.EMPTY_OUTPUT in words.found(text):
        return ""
    return f"Echo: {text}" if planned is None else planned


def text_of(value: Any) -> str:
    """The text in an input: ``contents``, parts, or the input of an interaction.

    Of a conversation it is what was said after the model's last turn.
    """
    return "\n".join(_texts(value))


def rows(requests: list[dict[str, Any]], model: str, plan: Plan) -> list[dict[str, Any]]:
    """One result per request: its ``key``, and a ``response`` or an ``error``."""
    return [
        {"key": item["key"], **_result(item["request"], model, plan, number)}
        for number, item in enumerate(requests, 1)
    ]


def jsonl(results: list[dict[str, Any]]) -> bytes:
    """Results as lines of JSON."""
    return b"".join(
        json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n" for row in results
    )


def count(text: str) -> int:
    """The number of tokens in ``text``, more or less."""
    return len(text.split())


def _result(request: dict[str, Any], model: str, plan: Plan, number: int) -> dict[str, Any]:
    is_embedding = "content" in request
    text = text_of(request.get("content" if is_embedding else "contents"))
    if words.FAIL_ROW in words.found(text):
        return {"error": REFUSED}
    if plan.fails_row(number):
        return {"error": {"code": plan.error_code, "message": plan.error_message}}
    if is_embedding:
        return {"response": _embedding(text, request)}
    return {"response": _response(text, reply(text, plan.answer_to(number)), model)}


def _response(text: str, answer: str, model: str) -> dict[str, Any]:
    content: dict[str, Any] = {"role": "model"}
    if answer:
        content["parts"] = [{"text": answer}]
    asked, said = count(text), count(answer)
    usage = {
        "promptTokenCount": asked,
        "candidatesTokenCount": said,
        "totalTokenCount": asked + said,
    }
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": usage,
        "modelVersion": model.removeprefix("models/"),
        "responseId": hashlib.sha256(answer.encode(errors="replace")).hexdigest()[:16],
    }


def _embedding(text: str, request: dict[str, Any]) -> dict[str, Any]:
    """Numbers that follow from the text alone; they have no meaning."""
    asked = request.get("outputDimensionality")
    size = asked if isinstance(asked, int) and 0 < asked <= DIMENSIONS else DIMENSIONS
    digest = hashlib.shake_256(text.encode(errors="replace")).digest(size)
    values = [round(byte / 127.5 - 1, 4) for byte in digest]
    return {"embedding": {"values": values}, "tokenCount": str(count(text))}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in _last_turn(value):
            yield from _texts(item)
    elif isinstance(value, dict):
        for name in ("text", "parts", "content", "contents"):
            yield from _texts(value.get(name))


def _last_turn(items: list[Any]) -> list[Any]:
    for at in range(len(items) - 1, 0, -1):
        item = items[at - 1]
        if isinstance(item, dict) and not OF_MODEL.isdisjoint((item.get("role"), item.get("type"))):
            return items[at:]
    return items
