"""The store behind the Files API."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gemini_webhooks.emulator.collection import Collection
from gemini_webhooks.emulator.errors import invalid
from gemini_webhooks.emulator.resources import iso, new_id, now

LIFETIME = timedelta(hours=48)
# The SDK takes the name out of a video's URI only if it starts with https.
PUBLIC_URI = "https://generativelanguage.googleapis.com/v1beta/files/"


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file; ``source`` is ``UPLOADED``, ``GENERATED`` or ``REGISTERED``."""

    id: str = field(default_factory=new_id)
    data: bytes = field(repr=False)
    mime_type: str
    source: str
    display_name: str = ""
    created: datetime = field(default_factory=now)

    def as_json(self) -> dict[str, Any]:
        """The resource. Google names a ``downloadUri`` for generated files only."""
        digest = hashlib.sha256(self.data).hexdigest().encode()
        resource = {
            "name": f"files/{self.id}",
            "displayName": self.display_name,
            "mimeType": self.mime_type,
            "sizeBytes": str(len(self.data)),
            "createTime": iso(self.created),
            "updateTime": iso(self.created),
            "expirationTime": iso(self.created + LIFETIME),
            "sha256Hash": base64.b64encode(digest).decode(),
            "uri": PUBLIC_URI + self.id,
            "state": "ACTIVE",
            "source": self.source,
        }
        if self.source == "GENERATED":
            resource["downloadUri"] = f"{PUBLIC_URI}{self.id}:download?alt=media"
        return resource


@dataclass(kw_only=True)
class Upload:
    """A resumable upload that has started."""

    id: str = field(default_factory=new_id)
    file_id: str
    mime_type: str
    display_name: str
    received: bytearray = field(default_factory=bytearray, repr=False)

    def append(self, offset: int, chunk: bytes) -> None:
        """Take the next chunk; 400 if it does not follow on the last one."""
        if offset != len(self.received):
            raise invalid(f"The upload is at offset {len(self.received)}, not {offset}.")
        self.received += chunk

    def file(self) -> StoredFile:
        """The finished file."""
        return StoredFile(
            id=self.file_id,
            data=bytes(self.received),
            mime_type=self.mime_type,
            source="UPLOADED",
            display_name=self.display_name,
        )


class FileStore(Collection[StoredFile]):
    """Files by id, and the uploads under way."""

    def __init__(self) -> None:
        super().__init__("File")
        self.uploads: Collection[Upload] = Collection("Upload")

    def generate(self, data: bytes, mime_type: str) -> StoredFile:
        """Keep a file that a job made."""
        return self.add(StoredFile(data=data, mime_type=mime_type, source="GENERATED"))
