"""What the buttons of the page do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.core.exceptions import TooManyFieldsSent
from django.http import HttpResponse, QueryDict

from gemini_webhooks.emulator import batches, interactions, lifecycle, videos
from gemini_webhooks.emulator.dispatch import Call, view
from gemini_webhooks.emulator.errors import invalid, not_found
from gemini_webhooks.emulator.page.rows import jobs
from gemini_webhooks.emulator.page.views import find
from gemini_webhooks.emulator.registered import DISABLED, ENABLED
from gemini_webhooks.emulator.resources import Job
from gemini_webhooks.emulator.switches import TYPES
from gemini_webhooks.exceptions import ConfigurationError

MODEL = "gemini-2.5-flash"
VIDEO_MODEL = "veo-3.1-generate-preview"
NAME = "From the emulator's page"
#: For ``need-action``, which calls the first function among the tools.
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "examples": ["Paris"]}},
        "required": ["city"],
    },
}

Action = Callable[[Call, QueryDict], object]


def act(call: Call, action: str) -> HttpResponse:
    """Do what a button is for, and lead back to the page."""
    if action not in ACTIONS:
        raise not_found("The action")
    try:
        form = QueryDict(call.body, encoding="utf-8")
    except TooManyFieldsSent:
        raise invalid("The form has too many fields.") from None
    ACTIONS[action](call, form)
    return HttpResponse(status=303, headers={"Location": "../../"})


def resend(call: Call, form: QueryDict) -> None:
    """Send an event once more."""
    message = find(call, form.get("key", ""))
    call.emulator.outbox.resend(message.webhook_id, message.target)


def send_lost(call: Call, form: QueryDict) -> None:  # noqa: ARG001  # as actions are
    """Send what was lost on purpose after all."""
    call.emulator.outbox.send_lost()


def cancel(call: Call, form: QueryDict) -> None:
    """End a running job as cancelled."""
    lifecycle.cancel(call.emulator, _job(call, form))


def finish(call: Call, form: QueryDict) -> None:
    """Let a running job end now, as it is planned."""
    lifecycle.finish_now(call.emulator, _job(call, form))


def enable(call: Call, form: QueryDict) -> None:
    """Switch a webhook on."""
    _change_webhook(call, form, ENABLED)


def disable(call: Call, form: QueryDict) -> None:
    """Switch a webhook off."""
    _change_webhook(call, form, DISABLED)


def switch(call: Call, form: QueryDict) -> None:
    """Set the switches that the form has."""
    try:
        call.emulator.switches.change({name: _value(name, text) for name, text in form.items()})
    except ConfigurationError as error:
        raise invalid(f"{error}.") from error


def start(call: Call, form: QueryDict) -> None:
    """Start a job as the SDK would, to see what a site makes of it."""
    prompt = form.get("prompt", "").strip() or "Why is the sky blue?"
    uri = form.get("uri", "").strip()
    config = {"uris": [uri]} if uri else None
    starts: dict[str, Callable[[], object]] = {
        "batch": lambda: batches.create(_with(call, _batch(prompt, config)), MODEL),
        "interaction": lambda: interactions.create(_with(call, _interaction(prompt, config))),
        "video": lambda: videos.create(_with(call, _video(prompt, config)), VIDEO_MODEL),
    }
    kind = form.get("kind", "")
    if kind not in starts:
        raise invalid(f"A job is one of {', '.join(starts)}.")
    starts[kind]()


ACTIONS: dict[str, Action] = {
    "resend": resend,
    "send-lost": send_lost,
    "cancel": cancel,
    "finish": finish,
    "enable": enable,
    "disable": disable,
    "switches": switch,
    "start": start,
}


def _with(call: Call, body: dict[str, Any]) -> Call:
    return replace(call, body=json.dumps(body).encode())


def _batch(prompt: str, config: object) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    rows = [{"request": request, "metadata": {"key": "sample-1"}}]
    given = {"displayName": NAME, "inputConfig": {"requests": {"requests": rows}}}
    return {"batch": {**given, "webhookConfig": config}}


def _interaction(prompt: str, config: object) -> dict[str, Any]:
    given = {"model": MODEL, "input": prompt, "background": True, "tools": [TOOL]}
    return {**given, "webhook_config": config}


def _video(prompt: str, config: object) -> dict[str, Any]:
    return {"instances": [{"prompt": prompt}], "webhookConfig": config}


def _job(call: Call, form: QueryDict) -> Job:
    for job in jobs(call.emulator):
        if job.id == form.get("id"):
            return job
    raise not_found("The job")


def _change_webhook(call: Call, form: QueryDict, state: str) -> None:
    call.emulator.webhooks.get(form.get("id", "")).change({"state": state})


def _value(name: str, text: object) -> object:
    """A field of the form, of the type that the option has."""
    wanted = TYPES.get(name)
    if wanted not in (int, float):
        return text
    try:
        return int(str(text)) if wanted is int else float(str(text))
    except ValueError:
        raise invalid(f"{name} must be a number.") from None


doing = view(public=True, spared=True, POST=act)
