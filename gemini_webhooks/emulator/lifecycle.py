"""Jobs start, end by themselves, or are cancelled; then their event is announced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gemini_webhooks.emulator import answers
from gemini_webhooks.emulator.events import announce
from gemini_webhooks.emulator.resources import Batch, Interaction, Job, Video
from gemini_webhooks.emulator.state import Emulator

JSONL = "application/jsonl"
Finish = Callable[[], Mapping[str, Any]]


def start_batch(emulator: Emulator, batch: Batch) -> None:
    """Begin a batch; it ends by itself."""
    _start(emulator, batch, partial(_finish_batch, emulator, batch))


def start_interaction(emulator: Emulator, interaction: Interaction) -> None:
    """Begin a background interaction; it ends by itself."""
    _start(emulator, interaction, partial(finish_interaction, interaction))


def start_video(emulator: Emulator, video: Video) -> None:
    """Begin a video; it ends by itself."""
    _start(emulator, video, partial(_finish_video, emulator, video))


def cancel(emulator: Emulator, job: Job) -> None:
    """End a running job now; one that has ended stays as it is."""
    if job.outcome:
        return
    if job.task is not None:
        emulator.scheduler.cancel(job.task)
    job.end("cancelled")
    _announce(emulator, job, {})


def finish_interaction(interaction: Interaction) -> Mapping[str, Any]:
    """Give the answer, or refuse it."""
    if answers.FAIL_WORD in interaction.text:
        return _fail(interaction, answers.REFUSED)
    interaction.answer = answers.reply(interaction.text)
    interaction.end("succeeded")
    return {}


def _start(emulator: Emulator, job: Job, finish: Finish) -> None:
    emulator.options.report(f"{job.kind} {job.id} started")
    task = partial(_complete, emulator, job, finish)
    job.task = emulator.scheduler.after(emulator.options.job_seconds, task)


def _complete(emulator: Emulator, job: Job, finish: Finish) -> None:
    with emulator.lock:
        # It may have been cancelled between its time and the lock.
        if not job.outcome:
            _announce(emulator, job, finish())


def _announce(emulator: Emulator, job: Job, data: Mapping[str, Any]) -> None:
    emulator.options.report(f"{job.kind} {job.id} {job.outcome}")
    names = {
        ("interaction", "succeeded"): "interaction.completed",
        ("video", "succeeded"): "video.generated",
    }
    event_type = names.get((job.kind, job.outcome), f"{job.kind}.{job.outcome}")
    announce(emulator, job, event_type, {"id": job.id, **data})


def _fail(job: Job, error: dict[str, Any]) -> Mapping[str, Any]:
    job.error = error
    job.end("failed")
    return {"error_code": str(error["code"]), "error_message": error["message"]}


def _finish_batch(emulator: Emulator, batch: Batch) -> Mapping[str, Any]:
    if batch.requests is None:
        return _fail(batch, {"code": 3, "message": "The input file is not JSONL of requests."})
    results = answers.rows(batch.requests, batch.model)
    batch.failed_rows = sum("error" in row for row in results)
    batch.output, data = _write(emulator, batch, results)
    batch.end("succeeded")
    return data


def _write(
    emulator: Emulator, batch: Batch, results: list[dict[str, Any]]
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Put the results where the options say; return the batch's output and the event's data."""
    if emulator.options.output == "inline":
        return {"inlinedResponses": {"inlinedResponses": _inlined(batch, results)}}, {}
    if emulator.options.output == "files":
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


def _finish_video(emulator: Emulator, video: Video) -> Mapping[str, Any]:
    file = emulator.files.generate(answers.VIDEO, "video/mp4")
    video.uri = file.as_json()["downloadUri"]
    video.end("succeeded")
    return {"video_uri": video.uri}
