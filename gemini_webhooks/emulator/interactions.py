"""Interactions, in the background or at once."""

from __future__ import annotations

from typing import Any

from gemini_webhooks.emulator import lifecycle
from gemini_webhooks.emulator.answers import text_of
from gemini_webhooks.emulator.dispatch import Call, view, webhook_config
from gemini_webhooks.emulator.errors import invalid
from gemini_webhooks.emulator.resources import Interaction


def create(call: Call) -> dict[str, Any]:
    """Start an interaction; without ``background`` it is over when the answer comes."""
    given = call.json()
    config = webhook_config(given.get("webhook_config"))
    background = given.get("background") is True
    if config.uris and not background:
        raise invalid("webhook_config needs background=true.")
    model = str(given.get("model") or given.get("agent") or "")
    if not model:
        raise invalid("A model or an agent must be named.")
    interaction = Interaction(
        model=model,
        project=call.project,
        webhook_config=config,
        text=text_of(given.get("input")),
    )
    call.emulator.interactions.add(interaction)
    if background:
        lifecycle.start_interaction(call.emulator, interaction)
    else:
        lifecycle.finish_interaction(interaction)
    return interaction.as_json()


def show(call: Call, interaction_id: str) -> dict[str, Any]:
    """One interaction."""
    return call.emulator.interactions.get(interaction_id).as_json()


def cancel(call: Call, interaction_id: str) -> dict[str, Any]:
    """End a running interaction."""
    interaction = call.emulator.interactions.get(interaction_id)
    lifecycle.cancel(call.emulator, interaction)
    return interaction.as_json()


collection = view(POST=create)
resource = view(GET=show)
cancelling = view(POST=cancel)
