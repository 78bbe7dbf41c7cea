"""Interactions, in the background or at once."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse

from gemini_webhooks.emulator import function_calls, lifecycle, streams
from gemini_webhooks.emulator.answers import text_of
from gemini_webhooks.emulator.dispatch import Answer, Call, view, webhook_config
from gemini_webhooks.emulator.errors import failed_precondition, invalid
from gemini_webhooks.emulator.resources import Interaction
from gemini_webhooks.emulator.rules import Asked


def create(call: Call) -> Answer:
    """Start an interaction; without ``background`` it is over when the answer comes."""
    given = call.json()
    background = given.get("background") is True
    interaction = _new(call, given)
    if interaction.webhook_config.uris and not background:
        raise invalid("webhook_config needs background=true.")
    if given.get("store") is not False:
        call.emulator.interactions.add(interaction)
    elif background:
        raise invalid("background=true needs store=true.")
    if background:
        lifecycle.start(call.emulator, interaction)
    else:
        lifecycle.finish_quietly(call.emulator, interaction)
    if given.get("stream") is True:
        return _stream(call, interaction)
    return interaction.as_json()


def show(call: Call, interaction_id: str) -> Answer:
    """One interaction, or the events of its stream after one of them."""
    interaction = call.emulator.interactions.get(interaction_id)
    query = call.request.GET
    if query.get("stream") == "true":
        return _stream(call, interaction, after=query.get("last_event_id", ""))
    return interaction.as_json(with_input=query.get("include_input") == "true")


def delete(call: Call, interaction_id: str) -> dict[str, Any]:
    """Forget an interaction; its event, if it is still running, comes nevertheless."""
    call.emulator.interactions.remove(interaction_id)
    return {}


def cancel(call: Call, interaction_id: str) -> dict[str, Any]:
    """End a running interaction."""
    interaction = call.emulator.interactions.get(interaction_id)
    lifecycle.cancel(call.emulator, interaction)
    return interaction.as_json()


def _new(call: Call, given: dict[str, Any]) -> Interaction:
    config = webhook_config(given.get("webhook_config"))
    model = str(given.get("model") or given.get("agent") or "")
    if not model:
        raise invalid("A model or an agent must be named.")
    asked_with = given.get("input")
    function_calls.check_results(asked_with, _previous(call, given))
    prompt = text_of(asked_with)
    asked = Asked(kind="interaction", model=model, text=prompt, metadata=config.user_metadata or {})
    plan = call.emulator.planner.plan(asked, call.emulator.options.job_seconds)
    results = function_calls.text_of_results(function_calls.results_of(asked_with))
    needs_call = plan.outcome == "requires_action"
    return Interaction(
        model=model,
        plan=plan,
        project=call.project,
        webhook_config=config,
        given=given,
        text="\n".join(filter(None, (prompt, results))),
        call=function_calls.call_first(given.get("tools")) if needs_call else None,
    )


def _previous(call: Call, given: dict[str, Any]) -> Interaction | None:
    name = given.get("previous_interaction_id")
    if not name:
        return None
    previous = call.emulator.interactions.get(str(name))
    if not previous.outcome:
        raise failed_precondition("The previous interaction has not ended.")
    return previous


def _stream(call: Call, interaction: Interaction, after: str = "") -> StreamingHttpResponse:
    events = streams.server_sent(interaction, call.emulator.closing, after)
    return StreamingHttpResponse(events, content_type="text/event-stream")


collection = view(POST=create)
resource = view(GET=show, DELETE=delete)
cancelling = view(POST=cancel)
