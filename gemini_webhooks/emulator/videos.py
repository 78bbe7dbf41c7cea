"""Videos: a long-running operation (a webhook for one with google-genai 2.x only)."""

from __future__ import annotations

from typing import Any

from gemini_webhooks.emulator import lifecycle
from gemini_webhooks.emulator.dispatch import Call, view, webhook_config
from gemini_webhooks.emulator.resources import Video
from gemini_webhooks.emulator.rules import Asked


def create(call: Call, model: str) -> dict[str, Any]:
    """Start a video."""
    given = call.json()
    config = webhook_config(given.get("webhookConfig"))
    asked = Asked(
        kind="video", model=model, text=_prompt(given), metadata=config.user_metadata or {}
    )
    video = Video(
        model=f"models/{model}",
        plan=call.emulator.planner.plan(asked, call.emulator.options.job_seconds),
        project=call.project,
        webhook_config=config,
        text=asked.text,
    )
    call.emulator.videos.add(video)
    lifecycle.start(call.emulator, video)
    return video.as_json()


def show(call: Call, model: str, operation_id: str) -> dict[str, Any]:  # noqa: ARG001  # in the URL
    """One operation."""
    return call.emulator.videos.get(operation_id).as_json()


def _prompt(given: dict[str, Any]) -> str:
    instances = given.get("instances")
    first = instances[0] if isinstance(instances, list) and instances else None
    return str(first.get("prompt") or "") if isinstance(first, dict) else ""


generating = view(POST=create)
operation = view(GET=show)
