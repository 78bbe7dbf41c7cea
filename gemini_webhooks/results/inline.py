"""The answers that a batch resource holds itself, written as the lines of a result file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gemini_webhooks import gateway
from gemini_webhooks.exceptions import ResultError
from gemini_webhooks.gateway import BatchOutput, Sink
from gemini_webhooks.results.files_api import GeminiFile, as_result_error
from gemini_webhooks.results.types import Description

UNFINISHED_STATES = ("", "JOB_STATE_PENDING", "JOB_STATE_QUEUED", "JOB_STATE_RUNNING")


@dataclass(frozen=True, kw_only=True)
class BatchAnswers:
    """The output of ``batches/…``, whose event named no file."""

    name: str
    api_key_name: str

    def describe(self) -> Description:
        """Nothing is known before the batch is read."""
        return Description(content_type="application/jsonl")

    def copy_to(self, sink: Sink, described: Description, offset: int) -> None:
        """Write one line per request, in their order: ``key`` and ``response`` or ``error``.

        The key is the one in the request's ``metadata``, or else ``request-1`` and so on. If
        the batch turns out to have its output in a file, that is copied.
        """
        with as_result_error(self.name, self.api_key_name):
            output = gateway.batch_output(api_key_name=self.api_key_name, name=self.name)
        if output.answers is not None:
            for number, answer in enumerate(output.answers, start=1):
                line = json.dumps(_row(number, answer), ensure_ascii=False)
                sink.write(line.encode("utf-8", "replace") + b"\n")
            return
        if not output.file_name.startswith("files/"):
            raise self._nothing_there(output)
        file = GeminiFile(name=output.file_name, api_key_name=self.api_key_name)
        file.copy_to(sink, described, offset)

    def _nothing_there(self, output: BatchOutput) -> ResultError:
        if output.state in UNFINISHED_STATES:
            return ResultError(f"{self.name} has no output yet", permanent=False)
        return ResultError(f"{self.name} has no output ({output.state})", permanent=True)


def _row(number: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    """A request without a ``key`` in its metadata gets its number as one."""
    metadata = answer.get("metadata") or {}
    row: dict[str, Any] = {"key": metadata.get("key", f"request-{number}")}
    if metadata.keys() - {"key"}:
        row["metadata"] = metadata
    outcome = "error" if "error" in answer else "response"
    row[outcome] = answer.get(outcome)
    return row
