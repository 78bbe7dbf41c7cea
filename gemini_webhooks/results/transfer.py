"""Takes a download to disk: counts, checks and limits what comes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any, BinaryIO

from gemini_webhooks.conf import SETTING, settings
from gemini_webhooks.exceptions import ResultError
from gemini_webhooks.results.rows import Counter
from gemini_webhooks.results.spool import disk_errors
from gemini_webhooks.results.types import Description

BLOCK_BYTES = 256 * 1024


class Transfer:
    """The sink of one download.

    Args:
        file: the part file.
        described: what the source promised.
        counter: is fed all bytes in their order, those that were there before included.
        on_progress: called with the number of bytes that are there; what it raises ends the
            download.

    Raises:
        ResultError: more is promised than ``MAX_RESULT_BYTES``, or the disk is full.
    """

    def __init__(
        self,
        file: BinaryIO,
        described: Description,
        counter: Counter,
        on_progress: Callable[[int], None],
    ) -> None:
        self.file = file
        self.described = described
        self.counter = counter
        self.on_progress = on_progress
        self.limit = settings.MAX_RESULT_BYTES
        self._refuse_above_limit(described.size or 0)
        self._resume()

    def write(self, chunk: bytes, /) -> int:
        """Append ``chunk``; see :class:`~gemini_webhooks.gateway.Sink`."""
        self._refuse_above_limit(self.done + len(chunk))
        with disk_errors():
            self.file.write(chunk)
        self._take(chunk)
        return len(chunk)

    @property
    def is_whole(self) -> bool:
        """Whether all bytes that were promised are there."""
        return self.done == self.described.size

    def verify(self) -> None:
        """Check size and checksum, and bring all bytes to the disk.

        Raises:
            ResultError: they do not hold.
        """
        with disk_errors():
            self.file.flush()
        size, expected = self.described.size, self.described.checksum
        if size is not None and self.done < size:
            raise ResultError(f"broke off after {self.done} of {size} bytes", permanent=False)
        if size is not None and self.done > size:
            self._start_over()
            raise ResultError(f"more came than the {size} bytes announced", permanent=False)
        if expected and self.hasher.digest() != expected.digest:
            self._start_over()
            raise ResultError(
                f"its {expected.algorithm} does not match: the bytes that came are not those "
                "that Google has",
                permanent=False,
            )

    def _refuse_above_limit(self, size: int) -> None:
        if size > self.limit:
            raise ResultError(
                f"it is larger than the {self.limit} bytes of {SETTING}['MAX_RESULT_BYTES']",
                permanent=True,
            )

    def _resume(self) -> None:
        """Take up what is on disk; checksum and counter need all of it to be read again."""
        self.done = 0
        self.hasher = _hasher(self.described)
        with disk_errors():
            there = os.fstat(self.file.fileno()).st_size
            promised = self.described.size
            if not self.described.resumable or (promised is not None and there > promised):
                self.file.truncate(0)
            self.file.seek(0)
            while block := self.file.read(BLOCK_BYTES):
                self._take(block)

    def _take(self, chunk: bytes) -> None:
        self.hasher.update(chunk)
        self.counter.feed(chunk)
        self.done += len(chunk)
        self.on_progress(self.done)

    def _start_over(self) -> None:
        with disk_errors():
            self.file.truncate(0)


class _NoHash:
    def update(self, chunk: bytes) -> None:
        """Nothing to compare with, so nothing to compute."""


def _hasher(described: Description) -> Any:
    if described.checksum is None:
        return _NoHash()
    if described.checksum.algorithm == "sha256":
        return hashlib.sha256()
    from google_crc32c import Checksum  # noqa: PLC0415  # comes with google-cloud-storage

    return Checksum()  # type: ignore[no-untyped-call]  # half typed
