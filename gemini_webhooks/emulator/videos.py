"""Videos: a long-running operation (google-genai 2.x only)."""

from __future__ import annotations

from typing import Any

from gemini_webhooks.emulator import lifecycle
from gemini_webhooks.emulator.dispatch import Call, view, webhook_config
from gemini_webhooks.emulator.resources import Video


def create(call: Call, model: str) -> dict[str, Any]:
    """Start a video."""
    config = webhook_config(call.json().get("webhookConfig"))
    video = Video(model=f"models/{model}", project=call.project, webhook_config=config)
    call.emulator.videos.add(video)
    lifecycle.start_video(call.emulator, video)
    return video.as_json()


def show(call: Call, model: str, operation_id: str) -> dict[str, Any]:  # noqa: ARG001 - in the URL
    """One operation."""
    return call.emulator.videos.get(operation_id).as_json()


generating = view(POST=create)
operation = view(GET=show)
