"""Result files that a test gives: read from memory, kept in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from gemini_webhooks.exceptions import ResultError
from gemini_webhooks.gateway import Sink
from gemini_webhooks.results.types import Description, Source


@dataclass(frozen=True, kw_only=True)
class GivenFile:
    """A result file at Google, as a test wants it; a :class:`results.types.Source`.

    Attributes:
        content: all of it.
        error: why it cannot be fetched; empty if it can.
    """

    content: bytes = field(default=b"", repr=False)
    error: str = ""

    def describe(self) -> Description:
        """Its size; or the error."""
        if self.error:
            raise ResultError(self.error, permanent=True)
        return Description(size=len(self.content))

    def copy_to(self, sink: Sink, described: Description, offset: int) -> None:  # noqa: ARG002  # of the protocol
        """All at once."""
        sink.write(self.content)


def given_file(
    rows: Iterable[Mapping[str, Any]] | None, result: bytes | None, error: str
) -> GivenFile | None:
    """The file that the arguments of ``deliver()`` describe; ``None`` if they give none.

    Raises:
        ValueError: they give more than one.
        TypeError: the rows cannot be written as JSON.
    """
    if sum((rows is not None, result is not None, bool(error))) > 1:
        raise ValueError("give one of rows=, result= and result_error=")
    if rows is not None:
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
        return GivenFile(content="".join(f"{line}\n" for line in lines).encode())
    if result is not None or error:
        return GivenFile(content=result or b"", error=error)
    return None


class GivenFiles:
    """The files of one test, by their URIs."""

    def __init__(self) -> None:
        self._files: dict[str, GivenFile] = {}

    def __contains__(self, uri: str) -> bool:
        return uri in self._files

    def add(self, uri: str, file: GivenFile) -> None:
        """Have ``file`` at ``uri`` from now on."""
        self._files[uri] = file

    def instead_of(self, source_for: Callable[[str, str], Source]) -> Callable[[str, str], Source]:
        """``source_for``, but for what is read: it still refuses what the site does not read."""

        def given(uri: str, api_key_name: str) -> Source:
            source_for(uri, api_key_name)
            return self._files[uri]

        return given


@contextmanager
def part_file(result_id: int, uri: str, generation: str) -> Iterator[BinaryIO]:  # noqa: ARG001  # see spool
    """Stands in for :func:`results.spool.part_file`: no other process finds this one."""
    with tempfile.TemporaryFile() as file:
        yield file
