"""Objects in Cloud Storage, through ``google-cloud-storage``.

A download names the generation that the metadata described, so that it cannot mix two versions
of an object. The library's retries are off: the claim on the result file must not wait for them,
and there is a retry above with a memory.

The content is read from a session of ``google-auth``, not through the library's own download: that
hands it on in pieces of 8 KiB, which costs more than all the rest.
"""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gemini_webhooks.exceptions import GeminiWebhooksError, ResultError
from gemini_webhooks.gateway import Sink
from gemini_webhooks.results.types import Checksum, Description

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.transport.requests import AuthorizedSession
    from google.cloud.storage import Client
    from requests import Response

#: To connect, and between two pieces; seconds. Less than the lease, so that a stalled download
#: ends before another worker takes it over.
TIMEOUT = (10, 40)
#: What the library itself goes by.
EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
HOST = "https://storage.googleapis.com"
#: Where requests with a client certificate go instead.
MTLS_HOST = "https://storage.mtls.googleapis.com"
#: ``always`` and ``never`` decide it, as in the library.
MTLS_VARIABLE = "GOOGLE_API_USE_MTLS_ENDPOINT"
PRECONDITION_FAILED = 412
#: What came of a read that is not full when the line stalls has to come again, and nothing is
#: handed on before. So reads are large, which costs less, only as long as they take no longer.
LEAST_BYTES, MOST_BYTES = 64 * 1024, 1024**2
QUICK_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class StorageObject:
    """``gs://bucket/name``."""

    bucket: str
    name: str

    def describe(self) -> Description:
        """Read size, generation and CRC32C; see :class:`~gemini_webhooks.results.types.Source`."""
        with self._calling() as (client, _):
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
        parameters = {"alt": "media"}
        if described.generation:
            parameters["ifGenerationMatch"] = described.generation
        headers = {"Accept-Encoding": "gzip"}  # or it is sent unpacked, with another checksum
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with self._calling() as (client, credentials), _session(credentials) as session:
            host = _host(client.api_endpoint, is_mtls=session.is_mtls)
            path = client.bucket(self.bucket).blob(self.name).path
            with session.get(
                f"{host}/download/storage/v1{path}",
                params=parameters,
                headers=headers,
                stream=True,
                timeout=TIMEOUT,
            ) as response:
                _copy(response, sink)

    @contextmanager
    def _calling(self) -> Iterator[tuple[Client, Credentials]]:
        try:
            credentials = _credentials()
            client = _client(credentials)
            try:
                yield client, credentials
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


def _credentials() -> Any:
    from google import auth  # noqa: PLC0415  # an extra
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415  # an extra
    from google.cloud.storage import Client  # noqa: PLC0415  # an extra

    if os.environ.get(EMULATOR_VARIABLE):
        return AnonymousCredentials()  # type: ignore[no-untyped-call]  # half typed
    return auth.default(scopes=Client.SCOPE)[0]


def _client(credentials: Credentials) -> Any:
    from google.cloud.storage import Client  # noqa: PLC0415  # an extra

    # Reading needs no project, and many credentials name none.
    return Client(project=None, credentials=credentials)


def _session(credentials: Credentials) -> AuthorizedSession:
    from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415  # an extra

    session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]  # half typed
    session.configure_mtls_channel()  # type: ignore[no-untyped-call]  # likewise
    return session


def _host(endpoint: str, *, is_mtls: bool) -> str:
    wanted = {"always": True, "never": False}.get(os.environ.get(MTLS_VARIABLE, ""), is_mtls)
    return MTLS_HOST if wanted and endpoint == HOST else endpoint


def _copy(response: Response, sink: Sink) -> None:
    """Hand on what comes, or raise what the library raises for such an answer."""
    from google.api_core.exceptions import from_http_response  # noqa: PLC0415  # an extra

    if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise from_http_response(response)  # type: ignore[no-untyped-call]  # half typed
    size, begun = LEAST_BYTES, time.monotonic()
    while piece := response.raw.read(size, decode_content=False):
        sink.write(piece)
        now = time.monotonic()
        is_quick = now - begun <= QUICK_SECONDS
        size, begun = min(2 * size, MOST_BYTES) if is_quick else LEAST_BYTES, now


def _checksum(crc32c: str | None) -> Checksum | None:
    try:
        digest = base64.b64decode(crc32c or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return Checksum(algorithm="crc32c", digest=digest) if len(digest) == 4 else None
