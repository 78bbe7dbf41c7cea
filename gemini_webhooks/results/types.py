"""The frozen values that sources hand over, and what a source is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from gemini_webhooks.gateway import Sink


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """What the content must add up to."""

    algorithm: Literal["crc32c", "sha256"]
    digest: bytes


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a source says about its content before any of it is fetched.

    Attributes:
        size: in bytes; ``None`` if not known.
        checksum: ``None`` if there is none.
        generation: changes whenever the content does; empty if there is no such thing.
        content_type: may be empty.
        resumable: whether a download can start in the middle.
    """

    size: int | None = None
    checksum: Checksum | None = None
    generation: str = ""
    content_type: str = ""
    resumable: bool = False


class Source(Protocol):
    """A result file at Google."""

    def describe(self) -> Description:
        """Ask for size, checksum and the like.

        Raises:
            ResultError: it is not there, may not be read, or cannot be read now.
        """

    def copy_to(self, sink: Sink, described: Description, offset: int) -> None:
        """Write the content to ``sink``, from byte ``offset`` on (0 unless it is resumable).

        Raises:
            ResultError: as :meth:`describe`, or it ended early.
            GeminiWebhooksError: what ``sink`` raised.
        """
