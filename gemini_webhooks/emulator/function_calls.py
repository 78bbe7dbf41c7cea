"""Function calls that a model makes, and the results that it gets for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gemini_webhooks.emulator.answers import text_of
from gemini_webhooks.emulator.errors import invalid
from gemini_webhooks.emulator.resources import Interaction, new_id

SIMPLE = {"string": "example", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def call_first(tools: Any) -> dict[str, Any]:
    """Call the first function among ``tools``: ``{"id", "name", "arguments"}``; 400 without one."""
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") == "function":
            arguments = example(tool.get("parameters"))
            return {
                "id": new_id("call_"),
                "name": str(tool.get("name") or ""),
                "arguments": arguments if isinstance(arguments, dict) else {},
            }
    raise invalid("This interaction shall call a function: give it a tool of the type 'function'.")


def example(schema: Any) -> Any:
    """A value that suits a JSON schema, more or less; the same one every time."""
    if not isinstance(schema, dict):
        return {}
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "examples"):
        if isinstance(schema.get(name), list) and schema[name]:
            return schema[name][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(name), list) and schema[name]:
            return example(schema[name][0])
    return _typed(schema)


def results_of(value: Any) -> list[dict[str, Any]]:
    """The function results in an input."""
    return [step for step in _steps(value) if step.get("type") == "function_result"]


def text_of_results(results: list[dict[str, Any]]) -> str:
    """What the functions returned, as text."""
    return "\n".join(_text(result.get("result")) for result in results)


def check_results(value: Any, previous: Interaction | None) -> None:
    """Whether each result in an input belongs to a call, and a call that waits has got one.

    Raises:
        ApiError: 400, it is not so.
    """
    waiting = previous.call if previous and previous.outcome == "requires_action" else None
    known = {step.get("id") for step in _steps(value) if step.get("type") == "function_call"}
    if waiting is not None:
        known.add(waiting["id"])
    answered = [result.get("call_id") for result in results_of(value)]
    for call_id in answered:
        if call_id not in known:
            raise invalid(f"There is no function call {call_id!r} that waits for a result.")
    if waiting is not None and waiting["id"] not in answered:
        raise invalid(
            f"The previous interaction waits for the result of the function call "
            f"{waiting['id']!r}: the input must have a function_result with this call_id."
        )


def _typed(schema: dict[str, Any]) -> Any:
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    # Google's own schemas write types in upper case.
    kind = kind.lower() if isinstance(kind, str) else ""
    properties = schema.get("properties")
    if kind == "object" or isinstance(properties, dict):
        known = properties if isinstance(properties, dict) else {}
        return {name: example(inner) for name, inner in known.items()}
    if kind == "array":
        return [example(schema.get("items"))]
    return schema.get("minimum", SIMPLE[kind]) if kind in SIMPLE else {}


def _text(result: Any) -> str:
    if isinstance(result, str):
        return result
    if isinstance(result, list):
        return text_of(result)
    return json.dumps(result, ensure_ascii=False)


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in an input: steps, contents, and the contents of turns."""
    if isinstance(value, dict):
        yield value
        yield from _steps(value.get("content"))
    elif isinstance(value, list):
        for item in value:
            yield from _steps(item)
