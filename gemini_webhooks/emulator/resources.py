"""The jobs that the API keeps, and how it shows them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


def now() -> datetime:
    """The current time, aware."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """As Google writes times: ISO 8601 in UTC with a ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def new_id(prefix: str = "") -> str:
    """A random id; ids stay unique when the emulator starts anew."""
    return prefix + secrets.token_hex(8)


@dataclass(frozen=True, kw_only=True)
class WebhookConfig:
    """The ``webhook_config`` of one job.

    Attributes:
        uris: called instead of the registered webhooks, if there are any.
        user_metadata: echoed in the event.
    """

    uris: tuple[str, ...] = ()
    user_metadata: Mapping[str, Any] | None = None


@dataclass(kw_only=True)
class Job:
    """A job of any kind. ``outcome`` stays empty while it runs.

    Attributes:
        project: whose it is; its event goes to webhooks of the same one.
    """

    id: str
    model: str
    webhook_config: WebhookConfig
    project: str = field(default="", repr=False)
    outcome: str = ""
    created: datetime = field(default_factory=now)
    updated: datetime = field(default_factory=now)
    error: dict[str, Any] | None = None
    task: int | None = None

    kind = "job"

    def end(self, outcome: str) -> None:
        """Set the outcome: ``succeeded``, ``failed`` or ``cancelled``."""
        self.outcome = outcome
        self.updated = now()


@dataclass(kw_only=True)
class Batch(Job):
    """Many requests in one job.

    Attributes:
        requests: ``{"key", "request", "metadata"}`` each; ``None`` if the input is unreadable.
        output: ``metadata.output`` of the resource.
    """

    id: str = field(default_factory=lambda: new_id("batch_"))
    display_name: str = ""
    requests: list[dict[str, Any]] | None
    output: dict[str, Any] | None = None
    failed_rows: int = 0

    kind = "batch"

    def as_json(self) -> dict[str, Any]:
        """A long-running operation, as the Developer API shows batches."""
        name = f"batches/{self.id}"
        metadata = {
            "name": name,
            "model": self.model,
            "displayName": self.display_name,
            "state": f"BATCH_STATE_{(self.outcome or 'running').upper()}",
            "createTime": iso(self.created),
            "updateTime": iso(self.updated),
            "batchStats": self._stats(),
        }
        if self.outcome:
            metadata["endTime"] = iso(self.updated)
        if self.output is not None:
            metadata["output"] = self.output
        resource = {"name": name, "metadata": metadata, "done": bool(self.outcome)}
        return resource if self.error is None else {**resource, "error": self.error}

    def _stats(self) -> dict[str, str]:
        total = len(self.requests or ())
        done = total if self.outcome == "succeeded" else 0
        return {
            "requestCount": str(total),
            "successfulRequestCount": str(done - self.failed_rows),
            "failedRequestCount": str(self.failed_rows),
            "pendingRequestCount": str(total - done),
        }


@dataclass(kw_only=True)
class Interaction(Job):
    """One exchange with a model, in the background or at once."""

    id: str = field(default_factory=lambda: new_id("interaction_"))
    text: str
    answer: str = ""

    kind = "interaction"

    def as_json(self) -> dict[str, Any]:
        """The resource; ``steps`` once there is an answer."""
        status = {"": "in_progress", "succeeded": "completed"}.get(self.outcome, self.outcome)
        resource: dict[str, Any] = {
            "id": self.id,
            "object": "interaction",
            "model": self.model,
            "status": status,
            "created": iso(self.created),
            "updated": iso(self.updated),
        }
        if self.outcome == "succeeded":
            content = [{"type": "text", "text": self.answer}]
            resource["steps"] = [{"type": "model_output", "content": content}]
        if self.error is not None:
            resource["errors"] = [self.error]
        return resource


@dataclass(kw_only=True)
class Video(Job):
    """A video in the making."""

    id: str = field(default_factory=lambda: new_id("video_"))
    uri: str = ""

    kind = "video"

    def as_json(self) -> dict[str, Any]:
        """A long-running operation."""
        operation: dict[str, Any] = {"name": f"{self.model}/operations/{self.id}"}
        if not self.outcome:
            return operation
        samples = [{"video": {"uri": self.uri}}]
        response = {"generateVideoResponse": {"generatedSamples": samples}}
        return {**operation, "done": True, "response": response}
