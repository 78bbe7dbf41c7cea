"""The jobs that the API keeps, and how it shows them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gemini_webhooks.emulator.plans import Outcome, Plan

COMPLETED = {"succeeded": "completed"}
#: What an interaction shows of what it was given.
ECHOED = ("model", "agent", "previous_interaction_id", "tools", "labels")


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
        plan: how it ends if it is left alone.
    """

    id: str
    model: str
    webhook_config: WebhookConfig
    plan: Plan = field(default_factory=Plan)
    project: str = field(default="", repr=False)
    outcome: str = ""
    created: datetime = field(default_factory=now)
    updated: datetime = field(default_factory=now)
    error: dict[str, Any] | None = None
    task: int | None = None

    kind = "job"

    @property
    def ends_at(self) -> datetime:
        """When it ends by itself, aware."""
        return self.created + timedelta(seconds=self.plan.seconds)

    @property
    def event_type(self) -> str | None:
        """The type of the event that tells its outcome; ``None`` if there is none."""
        return f"{self.kind}.{self.outcome}"

    def end(self, outcome: Outcome) -> None:
        """Set the outcome, once."""
        self.outcome = outcome
        self.updated = now()


@dataclass(kw_only=True)
class Batch(Job):
    """Many requests in one job.

    Attributes:
        requests: ``{"key", "request", "metadata"}`` each; ``None`` if the input is unreadable.
        embeds: the requests are for embeddings.
        output: ``metadata.output`` of the resource.
    """

    id: str = field(default_factory=lambda: new_id("batch_"))
    display_name: str = ""
    requests: list[dict[str, Any]] | None
    embeds: bool = False
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
    """One exchange with a model or an agent, in the background or at once.

    Attributes:
        given: the body of the call that made it.
        text: what it says to the model.
        answer: what the model says.
        call: the function call that waits for its result: ``{"id", "name", "arguments"}``.
    """

    id: str = field(default_factory=lambda: new_id("interaction_"))
    given: dict[str, Any] = field(default_factory=dict, repr=False)
    text: str
    answer: str = ""
    call: dict[str, Any] | None = None

    kind = "interaction"

    @property
    def event_type(self) -> str | None:
        """The catalogue says ``completed``."""
        return f"interaction.{COMPLETED.get(self.outcome, self.outcome)}"

    @property
    def status(self) -> str:
        """As the API names it."""
        return COMPLETED.get(self.outcome, self.outcome) or "in_progress"

    def steps(self) -> list[dict[str, Any]]:
        """What the model did: it said something, or called a function."""
        if self.outcome == "requires_action" and self.call is not None:
            return [{"type": "function_call", **self.call}]
        if self.outcome == "succeeded" and self.answer:
            return [{"type": "model_output", "content": [{"type": "text", "text": self.answer}]}]
        return []

    def as_json(self, *, with_input: bool = False) -> dict[str, Any]:
        """The resource.

        Args:
            with_input: show what it was given as well.
        """
        resource: dict[str, Any] = {
            "id": self.id,
            "object": "interaction",
            "status": self.status,
            "created": iso(self.created),
            "updated": iso(self.updated),
            **{name: self.given[name] for name in ECHOED if self.given.get(name)},
        }
        if with_input:
            resource["input"] = self.given.get("input")
        if self.outcome in ("succeeded", "requires_action"):
            resource |= {"steps": self.steps(), "usage": self._usage()}
        if self.error is not None:
            resource["errors"] = [{**self.error, "code": str(self.error["code"])}]
        return resource

    def _usage(self) -> dict[str, int]:
        asked, said = len(self.text.split()), len(self.answer.split())
        return {
            "total_input_tokens": asked,
            "total_output_tokens": said,
            "total_tokens": asked + said,
        }


@dataclass(kw_only=True)
class Video(Job):
    """A video in the making.

    Attributes:
        text: what it shall show.
        uri: where it is, once it is there.
    """

    id: str = field(default_factory=lambda: new_id("video_"))
    text: str = ""
    uri: str = ""

    kind = "video"

    @property
    def event_type(self) -> str | None:
        """The catalogue has an event for a video that is ready, and no other."""
        return "video.generated" if self.outcome == "succeeded" else None

    def as_json(self) -> dict[str, Any]:
        """A long-running operation."""
        operation: dict[str, Any] = {"name": f"{self.model}/operations/{self.id}"}
        if not self.outcome:
            return operation
        if self.error is not None:
            return {**operation, "done": True, "error": self.error}
        samples = [{"video": {"uri": self.uri}}] if self.uri else []
        response = {"generateVideoResponse": {"generatedSamples": samples}}
        return {**operation, "done": True, "response": response}
