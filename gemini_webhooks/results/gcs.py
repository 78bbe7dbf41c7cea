"""Objects in Cloud Storage, through ``google-cloud-storage``.

A download names the generation that the metadata described, so that it cannot mix two versions
of an object. The library's retries are off: the claim on the result file must not wait for them,
and there is a retry above with a memory.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_webhooks.exceptions import GeminiWebhooksError, ResultError
from gemini_webhooks.gateway import Sink
from gemini_webhooks.results.types import Checksum, Description

if TYPE_CHECKING:
    from google.cloud.storage import Client

#: To connect, and between two pieces; seconds. Less than the lease, so that a stalled download
#: ends before another worker takes it over.
TIMEOUT = (10, 40)
#: What the library itself goes by.
EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
PRECONDITION_FAILED = 412


@dataclass(frozen=True, kw_only=True)
class StorageObject:
    """``gs://bucket/name``."""

    bucket: str
    name: str

    def describe(self) -> Description:
        """Read size, generation and CRC32C; see :class:`~gemini_webhooks.results.types.Source`."""
        with self._calling() as client:
            blob = client.bucket(self.bucket).blob(self.name)
            blob.reload(timeout=TIMEOUT, retry=None)
            return Description(
                size=blob.size,
                checksum=_checksum(blob.crc32c),
                generation=str(blob.generation or ""),
                content_type=blob.content_type or "",
                resumable=blob.generation is not None,
            )

    def copy_to(self, sink: Sink, described: Description, offset: int) -> None:
        """Stream the bytes as they are stored, from ``offset`` on."""
        with self._calling() as client:
            client.bucket(self.bucket).blob(self.name).download_to_file(
                sink,
                start=offset or None,
                raw_download=True,
                if_generation_match=int(described.generation) if described.generation else None,
                checksum=None,
                timeout=TIMEOUT,
                retry=None,
            )

    @contextmanager
    def _calling(self) -> Iterator[Client]:
        try:
            client = _client()
            try:
                yield client
            finally:
                client.close()
        except GeminiWebhooksError:
            raise
        except ImportError:
            raise ResultError(
                "google-cloud-storage is not installed: pip install 'django-gemini-webhooks[gcs]'",
                permanent=True,
            ) from None
        except Exception as error:  # noqa: BLE001  # it lets those of four libraries through
            raise self._result_error(error) from None

    def _result_error(self, error: Exception) -> ResultError:
        from google.auth import exceptions  # noqa: PLC0415  # an extra

        uri = f"gs://{self.bucket}/{self.name}"
        if isinstance(error, exceptions.DefaultCredentialsError):
            return ResultError(
                f"no Google Cloud credentials to read {uri} with: set up Application Default "
                "Credentials where the Celery workers run",
                permanent=True,
            )
        if isinstance(error, exceptions.GoogleAuthError):
            return ResultError(
                f"Google Cloud gave no access token to read {uri} with: {type(error).__name__}",
                permanent=False,
            )
        code = getattr(error, "code", None)
        status = int(code) if isinstance(code, int) else None
        says = str(getattr(error, "message", ""))[:500]
        if status is None:
            return ResultError(f"reading {uri} broke off: {type(error).__name__}", permanent=False)
        if status == PRECONDITION_FAILED:
            return ResultError(f"{uri} changed while it was being read", permanent=False)
        return ResultError(
            f"{self._meaning(status)} (HTTP status {status}: {says})",
            permanent=400 <= status < 500 and status not in (408, 429),
        )

    def _meaning(self, status: int) -> str:
        uri = f"gs://{self.bucket}/{self.name}"
        meanings = {
            401: f"Google Cloud does not accept this site's credentials for {uri}",
            403: f"no permission to read {uri}: grant this site's service account the role "
            f"Storage Object Viewer (storage.objects.get) on bucket {self.bucket}",
            404: f"{uri} does not exist, or no longer",
        }
        return meanings.get(status, f"{uri} could not be read")


def _client() -> Any:
    from google.cloud.storage import Client  # noqa: PLC0415  # an extra

    if os.environ.get(EMULATOR_VARIABLE):
        return Client.create_anonymous_client()
    # Reading needs no project, and many credentials name none.
    return Client(project=None)


def _checksum(crc32c: str | None) -> Checksum | None:
    try:
        digest = base64.b64decode(crc32c or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return Checksum(algorithm="crc32c", digest=digest) if len(digest) == 4 else None
