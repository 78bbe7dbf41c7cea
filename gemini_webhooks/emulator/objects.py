"""The store behind the Cloud Storage JSON API, with faults on demand."""

from __future__ import annotations

import base64
import hashlib
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from pathlib import Path

from gemini_webhooks.emulator.errors import not_found
from gemini_webhooks.emulator.resources import now

CHUNK_BYTES = 64 * 1024


def read(data: bytes | Path, start: int, end: int) -> Iterator[bytes]:
    """Yield ``data[start:end]`` in chunks; a file is never held in memory."""
    if isinstance(data, bytes):
        for at in range(start, end, CHUNK_BYTES):
            yield data[at : min(at + CHUNK_BYTES, end)]
        return
    with data.open("rb") as file:
        file.seek(start)
        while start < end and (chunk := file.read(min(CHUNK_BYTES, end - start))):
            start += len(chunk)
            yield chunk


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One generation of an object; digests are in base64, as Cloud Storage writes them."""

    bucket: str
    name: str
    data: bytes | Path = field(repr=False)
    size: int
    content_type: str
    crc32c: str
    md5: str
    generation: int
    updated: datetime = field(default_factory=now)

    @property
    def etag(self) -> str:
        """Changes with each generation."""
        return base64.b64encode(str(self.generation).encode()).decode()


class ObjectStore:
    """Objects by bucket and name, and the faults that the next requests will meet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[tuple[str, str], StoredObject] = {}
        self._generations = itertools.count(time.time_ns() // 1000)
        self._failures: list[int] = []
        self._cuts: list[int] = []

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[StoredObject]:
        return iter(list(self._objects.values()))

    def __contains__(self, place: tuple[str, str]) -> bool:
        """Whether there is an object in this bucket with this name."""
        return place in self._objects

    def restore(self, objects: Iterable[StoredObject]) -> None:
        """Keep these; needs no extra."""
        with self._lock:
            self._objects.update({(one.bucket, one.name): one for one in objects})

    def put(
        self,
        bucket: str,
        name: str,
        data: bytes | Path,
        content_type: str = "application/octet-stream",
    ) -> str:
        """Write a new generation of an object; needs google-crc32c, of the extra ``gcs``.

        Args:
            bucket: its name; buckets need not be made.
            name: name of the object.
            data: its content, or a file that has it and stays where it is.
            content_type: its MIME type.

        Returns:
            The ``gs://`` URI.
        """
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        crc32c, md5 = _digests(data, size)
        with self._lock:
            self._objects[bucket, name] = StoredObject(
                bucket=bucket,
                name=name,
                data=data,
                size=size,
                content_type=content_type,
                crc32c=crc32c,
                md5=md5,
                generation=next(self._generations),
            )
        return f"gs://{bucket}/{name}"

    def get(self, bucket: str, name: str) -> StoredObject:
        """The newest generation, or a 404."""
        with self._lock:
            if (bucket, name) not in self._objects:
                raise not_found(f"Object {bucket}/{name}")
            return self._objects[bucket, name]

    def delete(self, bucket: str, name: str) -> None:
        """Remove an object, or raise a 404."""
        self.get(bucket, name)
        with self._lock:
            self._objects.pop((bucket, name), None)

    def touch(self, bucket: str, name: str) -> int:
        """Replace an object by a new generation with the same content; return its number."""
        found = self.get(bucket, name)
        with self._lock:
            new = replace(found, generation=next(self._generations), updated=now())
            self._objects[bucket, name] = new
        return new.generation

    def corrupt_checksum(self, bucket: str, name: str) -> None:
        """From now on announce a crc32c that the content does not have."""
        found = self.get(bucket, name)
        wrong = bytes(byte ^ 0xFF for byte in base64.b64decode(found.crc32c))
        with self._lock:
            new = replace(found, crc32c=base64.b64encode(wrong).decode())
            self._objects[bucket, name] = new

    def fail_next(self, status: int, times: int = 1) -> None:
        """Answer the next ``times`` requests with the HTTP ``status``."""
        with self._lock:
            self._failures += [status] * times

    def cut_next(self, after_bytes: int, times: int = 1) -> None:
        """Cut the connection of the next ``times`` downloads after so many bytes of content."""
        with self._lock:
            self._cuts += [after_bytes] * times

    def next_failure(self) -> int | None:
        """The status that this request must be answered with, if any."""
        with self._lock:
            return self._failures.pop(0) if self._failures else None

    def next_cut(self) -> int | None:
        """After how many bytes this download must be cut, if at all."""
        with self._lock:
            return self._cuts.pop(0) if self._cuts else None


def _digests(data: bytes | Path, size: int) -> tuple[str, str]:
    # Here, because an emulator with another output works without the extra.
    crc32c = import_module("google_crc32c").Checksum()
    md5 = hashlib.md5(usedforsecurity=False)
    for chunk in read(data, 0, size):
        crc32c.update(chunk)
        md5.update(chunk)
    return base64.b64encode(crc32c.digest()).decode(), base64.b64encode(md5.digest()).decode()
