"""What the studio asks of the Gemini API."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
from django.conf import settings
from django.utils import timezone
from google import genai

from example_project.studio.models import PUBLISH, Approval, Commission
from gemini_webhooks import jobs
from gemini_webhooks.events import bare_id
from gemini_webhooks.exceptions import GeminiWebhooksError

BASE_URL = "https://generativelanguage.googleapis.com"
TIMEOUT_SECONDS = 30
VIDEO_TAKES = timedelta(minutes=10)
FUNCTION = {
    "type": "function",
    "name": PUBLISH,
    "description": "Publish a text. The studio asks a person before it does.",
    "parameters": {
        "type": "object",
        "properties": {
            "channel": {"type": "string", "enum": ["blog", "newsletter"]},
            "text": {"type": "string"},
        },
        "required": ["channel", "text"],
    },
}
ANSWERS = {
    Approval.Verdict.GRANTED: "Published.",
    Approval.Verdict.REFUSED: "A person has refused this. Do not ask again.",
}


class NotStarted(Exception):
    """The Gemini API did not start a job; the text says why, to whoever wanted it."""


def start(commission: Commission) -> str:
    """Start the job of a commission, outside of any transaction; returns its resource id.

    Raises:
        NotStarted: it was refused, or there was no answer. Then it may run all the same, and
            its event comes.
    """
    starter = {
        Commission.Kind.BATCH: _batch,
        Commission.Kind.INTERACTION: _interaction,
        Commission.Kind.VIDEO: _video,
    }[Commission.Kind(commission.kind)]
    return _started(starter, commission)


def go_on(commission: Commission, approvals: Sequence[Approval]) -> str:
    """Answer the calls of an interaction; returns the id of the one that goes on.

    Raises:
        NotStarted: as :func:`start`.
    """
    results = [
        {
            "type": "function_result",
            "name": approval.function,
            "call_id": approval.call_id,
            "result": ANSWERS[Approval.Verdict(approval.verdict)],
        }
        for approval in approvals
    ]
    return _started(
        _interaction, commission, input=results, previous_interaction_id=commission.resource_id
    )


def read_interaction(interaction_id: str) -> Any:
    """The interaction as the SDK has it: an event says that it ended, and not what it says."""
    # In a variable, as it closes its connections when nothing refers to it any more.
    client = genai.Client(
        api_key=os.environ.get("GEMINI_API_KEY"), http_options={"timeout": TIMEOUT_SECONDS * 1000}
    )
    return client.interactions.get(interaction_id)


def _started(starter: Any, commission: Commission, **more: Any) -> str:
    try:
        return bare_id(str(starter(commission, **more)))
    except (GeminiWebhooksError, httpx.HTTPError) as error:
        raise NotStarted(str(error) or type(error).__name__) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise NotStarted(f"its answer makes no sense: {type(error).__name__}") from error


def _batch(commission: Commission) -> Any:
    requests = [
        {
            "contents": [{"role": "user", "parts": [{"text": prompt}]}],
            "metadata": {"key": f"{number:03}"},
        }
        for number, prompt in enumerate(commission.prompts, start=1)
    ]
    return jobs.submit_batch(
        model=settings.STUDIO_MODEL,
        src=requests,
        config={"display_name": f"studio {commission.tenant.slug} {commission.pk}"},
        user_metadata=commission.metadata,
    ).name


def _interaction(commission: Commission, **more: Any) -> Any:
    tools = {"tools": [FUNCTION]} if commission.may_publish else {}
    return jobs.submit_interaction(
        model=settings.STUDIO_MODEL,
        user_metadata=commission.metadata,
        **{"input": commission.prompt, **tools, **more},
    ).id


def _video(commission: Commission) -> str:
    # google-genai 3 starts no videos with an API key, so this is what version 2 sent. The job
    # is sealed and entered in the ledger by hand, which jobs.submit_video() does otherwise.
    base = os.environ.get("GOOGLE_GEMINI_BASE_URL") or BASE_URL
    answer = httpx.post(
        f"{base}/v1beta/models/{settings.STUDIO_VIDEO_MODEL}:predictLongRunning",
        headers={"x-goog-api-key": os.environ.get("GEMINI_API_KEY", "")},
        json={
            "instances": [{"prompt": commission.prompt}],
            "webhookConfig": _camel_case(jobs.webhook_config(commission.metadata)),
        },
        timeout=TIMEOUT_SECONDS,
    )
    if answer.is_error:
        raise NotStarted(f"The Gemini API answered {answer.status_code}.")
    name = str(answer.json()["name"])
    # A video that fails has no event: the reconciler is to ask soon.
    due_at = timezone.now() + VIDEO_TAKES
    jobs.track(name, user_metadata=commission.metadata, due_at=due_at)
    return name


def _camel_case(config: dict[str, Any]) -> dict[str, Any]:
    return {"uris": config["uris"], "userMetadata": config["user_metadata"]}
