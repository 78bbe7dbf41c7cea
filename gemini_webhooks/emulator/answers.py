"""What the emulated model says: the same input always gets the same answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

FAIL_WORD = "fail-row"
VIDEO = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42" + bytes(1024)
REFUSED = {"code": 3, "message": f"The request asks to fail: it contains {FAIL_WORD!r}."}


def reply(text: str) -> str:
    """The answer to ``text``."""
    return f"Echo: {text}"


def text_of(value: Any) -> str:
    """All the text in an input: ``contents``, parts, or the input of an interaction."""
    return "\n".join(_texts(value))


def rows(requests: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    """One result per request: its ``key``, and a ``response`` or an ``error``."""
    return [{"key": item["key"], **_result(item["request"], model)} for item in requests]


def jsonl(results: list[dict[str, Any]]) -> bytes:
    """Results as lines of JSON."""
    return b"".join(
        json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n" for row in results
    )


def _result(request: dict[str, Any], model: str) -> dict[str, Any]:
    text = text_of(request.get("contents"))
    if FAIL_WORD in text:
        return {"error": REFUSED}
    answer = reply(text)
    asked, said = len(text.split()), len(answer.split())
    candidate = {
        "content": {"role": "model", "parts": [{"text": answer}]},
        "finishReason": "STOP",
        "index": 0,
    }
    usage = {
        "promptTokenCount": asked,
        "candidatesTokenCount": said,
        "totalTokenCount": asked + said,
    }
    response = {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": model.removeprefix("models/"),
        "responseId": hashlib.sha256(answer.encode(errors="replace")).hexdigest()[:16],
    }
    return {"response": response}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name in ("text", "parts", "content", "contents"):
            yield from _texts(value.get(name))
