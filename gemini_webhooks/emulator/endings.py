"""What is there when a job ends as planned, and what its event says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gemini_webhooks.emulator import answers
from gemini_webhooks.emulator.plans import (
    CANCELLED,
    DEADLINE_EXCEEDED,
    INVALID_ARGUMENT,
    Outcome,
)
from gemini_webhooks.emulator.resources import Batch, Interaction, Job, Video
from gemini_webhooks.emulator.state import Emulator

JSONL = "application/jsonl"
UNREADABLE = {"code": INVALID_ARGUMENT, "message": "The input file is not JSONL of requests."}
#: A long-running operation has no state beside its error.
STOPPED: Mapping[Outcome, dict[str, Any]] = {
    "cancelled": {"code": CANCELLED, "message": "The operation was cancelled."},
    "expired": {"code": DEADLINE_EXCEEDED, "message": "The operation was not done in time."},
}


def finish(emulator: Emulator, job: Job) -> Mapping[str, Any]:
    """End ``job`` as planned; return what its event says beside the id."""
    plan = job.plan
    if isinstance(job, Batch) and job.requests is None:
        return _fail(job, UNREADABLE)
    if plan.outcome == "failed":
        return _fail(job, {"code": plan.error_code, "message": plan.error_message})
    data: Mapping[str, Any] = {}
    if plan.outcome == "succeeded":
        data = _produce(emulator, job)
    elif isinstance(job, Video):
        job.error = STOPPED.get(plan.outcome)
    job.end(plan.outcome)
    return data


def _fail(job: Job, error: dict[str, Any]) -> Mapping[str, Any]:
    job.error = error
    job.end("failed")
    return {"error_code": str(error["code"]), "error_message": error["message"]}


def _produce(emulator: Emulator, job: Job) -> Mapping[str, Any]:
    if isinstance(job, Batch):
        return _answer_rows(emulator, job)
    if isinstance(job, Interaction):
        job.answer = answers.reply(job.text, job.plan.answer_to(1))
    if isinstance(job, Video):
        return _film(emulator, job)
    return {}


def _answer_rows(emulator: Emulator, batch: Batch) -> Mapping[str, Any]:
    results = answers.rows(batch.requests or [], batch.model, batch.plan)
    batch.failed_rows = sum("error" in row for row in results)
    batch.output, data = _write(emulator, batch, results)
    return data


def _write(
    emulator: Emulator, batch: Batch, results: list[dict[str, Any]]
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Put the results where they belong; return the batch's output and the event's data."""
    output = batch.plan.output or emulator.options.output
    if output == "inline":
        field = "inlinedEmbedContentResponses" if batch.embeds else "inlinedResponses"
        return {field: {"inlinedResponses": _inlined(batch, results)}}, {}
    if output == "files":
        file = emulator.files.generate(answers.jsonl(results), JSONL)
        return {"responsesFile": f"files/{file.id}"}, {"file_name": f"files/{file.id}"}
    name = f"batches/{batch.id}/output.jsonl"
    uri = emulator.storage.put(emulator.options.bucket, name, answers.jsonl(results), JSONL)
    # The Developer API has no field for a bucket here; this one is the SDK's ``dest.file_name``.
    return {"responsesFile": uri}, {"output_file_uri": uri}


def _inlined(batch: Batch, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**{name: row[name] for name in row if name != "key"}, "metadata": request["metadata"]}
        for row, request in zip(results, batch.requests or (), strict=True)
    ]


def _film(emulator: Emulator, video: Video) -> Mapping[str, Any]:
    if not answers.reply(video.text, video.plan.answer_to(1)):
        return {}
    file = emulator.files.generate(answers.VIDEO, "video/mp4")
    video.uri = str(file.as_json()["downloadUri"])
    return {"video_uri": video.uri}
