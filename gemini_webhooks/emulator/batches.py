"""BatchService, for ``generateContent`` and ``embedContent`` requests."""

from __future__ import annotations

import json
from typing import Any

from gemini_webhooks.emulator import lifecycle
from gemini_webhooks.emulator.answers import text_of
from gemini_webhooks.emulator.dispatch import Call, view, webhook_config
from gemini_webhooks.emulator.errors import invalid
from gemini_webhooks.emulator.resources import Batch
from gemini_webhooks.emulator.rules import Asked

#: The guide says a day; the docstring of the SDK two.
EXPIRY_SECONDS = 86_400


def create(call: Call, model: str) -> dict[str, Any]:
    """Start a batch, from requests in the call or from an uploaded file."""
    return _create(call, model, embeds=False)


def create_embeddings(call: Call, model: str) -> dict[str, Any]:
    """Start a batch of embeddings, from either."""
    return _create(call, model, embeds=True)


def index(call: Call) -> dict[str, Any]:
    """One page of batches."""
    page, token = call.page(call.emulator.batches, size=50, limit=1000)
    answer: dict[str, Any] = {"operations": [batch.as_json() for batch in page]}
    return {**answer, "nextPageToken": token} if token else answer


def show(call: Call, batch_id: str) -> dict[str, Any]:
    """One batch."""
    return call.emulator.batches.get(batch_id).as_json()


def delete(call: Call, batch_id: str) -> dict[str, Any]:
    """Forget a batch; its event, if it is still running, comes nevertheless."""
    call.emulator.batches.remove(batch_id)
    return {}


def cancel(call: Call, batch_id: str) -> dict[str, Any]:
    """End a running batch."""
    lifecycle.cancel(call.emulator, call.emulator.batches.get(batch_id))
    return {}


def _create(call: Call, model: str, *, embeds: bool) -> dict[str, Any]:
    given = call.json().get("batch")
    if not isinstance(given, dict) or not isinstance(given.get("inputConfig"), dict):
        raise invalid("batch.inputConfig is missing.")
    config = webhook_config(given.get("webhookConfig"))
    requests = _requests(call, given["inputConfig"])
    asked = Asked(
        kind="batch",
        model=model,
        display_name=str(given.get("displayName") or ""),
        text="\n".join(text_of(_prompt(item["request"])) for item in requests or ()),
        metadata=config.user_metadata or {},
    )
    options = call.emulator.options
    plan = call.emulator.planner.plan(asked, options.job_seconds)
    batch = Batch(
        model=f"models/{model}",
        plan=plan.within(options.real_seconds(EXPIRY_SECONDS)),
        project=call.project,
        display_name=asked.display_name,
        webhook_config=config,
        requests=requests,
        embeds=embeds,
    )
    call.emulator.batches.add(batch)
    lifecycle.start(call.emulator, batch)
    return batch.as_json()


def _prompt(request: dict[str, Any]) -> Any:
    return request.get("contents", request.get("content"))


def _requests(call: Call, config: dict[str, Any]) -> list[dict[str, Any]] | None:
    # The SDK writes it with an underscore for embeddings.
    name = config.get("fileName") or config.get("file_name")
    if name is not None:
        return _from_file(call.emulator.files.get(str(name).removeprefix("files/")).data)
    wrapped = config.get("requests")
    items = wrapped.get("requests") if isinstance(wrapped, dict) else None
    if not isinstance(items, list) or not items:
        raise invalid("batch.inputConfig must name a file or hold requests.")
    if not all(isinstance(item, dict) and isinstance(item.get("request"), dict) for item in items):
        raise invalid("Each request must be an object with a request in it.")
    return [_inlined(number, item) for number, item in enumerate(items, 1)]


def _inlined(number: int, item: dict[str, Any]) -> dict[str, Any]:
    metadata = item.get("metadata") or {}
    key = metadata.get("key") if isinstance(metadata, dict) else None
    return {
        "key": key or f"request-{number}",
        "request": item["request"],
        "metadata": metadata,
    }


def _from_file(data: bytes) -> list[dict[str, Any]] | None:
    """The requests of a JSONL file; ``None`` if it is not one."""
    try:
        items = [json.loads(line) for line in data.splitlines() if line.strip()]
        return [
            {"key": item["key"], "request": dict(item["request"]), "metadata": {}} for item in items
        ] or None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


generating = view(POST=create)
embedding = view(POST=create_embeddings)
collection = view(GET=index)
resource = view(GET=show, DELETE=delete)
cancelling = view(POST=cancel)
