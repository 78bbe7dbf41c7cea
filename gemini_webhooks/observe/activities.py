"""What takes time and is observed. How it ended is filled in while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True, eq=False)
class Activity:
    """Something that begins and ends.

    Attributes:
        outcome: a word out of few, once it is known.
        error: what it raised. Its text may hold a payload: only its type may be passed on.
        seconds: how long it took.
    """

    outcome: str = ""
    error: BaseException | None = None
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """What it is, in words that do not differ from delivery to delivery."""
        raise NotImplementedError


@dataclass(kw_only=True, eq=False)
class Request(Activity):
    """A request to the webhook view.

    Attributes:
        method: of HTTP.
        route: the pattern that led to the view.
        status: of the answer; 500 if there is none.
    """

    method: str
    route: str
    status: int = 500

    @property
    def title(self) -> str:
        """As for every span of a server."""
        return f"{self.method} {self.route}".strip()


@dataclass(kw_only=True, eq=False)
class Sending(Activity):
    """A message to a worker.

    Attributes:
        task: name of the task.
        queue: where it is sent.
        detached: it is no consequence of what is going on here, as with a sweep.
        headers: what is sent along; for observers to add to.
        message_id: known once it was sent.
    """

    task: str
    queue: str
    detached: bool = False
    headers: dict[str, Any] = field(default_factory=dict)
    message_id: str = ""

    @property
    def title(self) -> str:
        """As for every message."""
        return f"send {self.queue}"


@dataclass(kw_only=True, eq=False)
class Message(Activity):
    """A message that a worker has taken.

    Attributes:
        task: name of the task.
        queue: where it came from.
        headers: what was sent along.
        message_id: as of :class:`Sending`.
    """

    task: str
    queue: str
    headers: Mapping[str, Any]
    message_id: str

    @property
    def title(self) -> str:
        """As for every message."""
        return f"process {self.queue}"


@dataclass(kw_only=True, eq=False)
class Planning(Activity):
    """A delivery is taken into processing."""

    title = "plan delivery"


@dataclass(kw_only=True, eq=False)
class Attempt(Activity):
    """One attempt of a receiver's run.

    Attributes:
        receiver: its stable name.
    """

    receiver: str

    @property
    def title(self) -> str:
        """The receiver is the code that runs."""
        return f"run {self.receiver}"


@dataclass(kw_only=True, eq=False)
class Fetch(Activity):
    """One attempt to fetch a result file."""

    title = "fetch result"
