"""Files of the Gemini API, through ``google-genai``."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gemini_webhooks import gateway
from gemini_webhooks.exceptions import ConfigurationError, GatewayError, ResultError
from gemini_webhooks.gateway import Sink
from gemini_webhooks.results.types import Checksum, Description

SHA256_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class GeminiFile:
    """``files/…``: a batch's output or a video."""

    name: str
    api_key_name: str

    def describe(self) -> Description:
        """Read size and SHA-256, if Google gives them.

        Only the download of such files is documented, not the reading of their metadata: if
        that is refused, the download decides.
        """
        try:
            with as_result_error(self.name, self.api_key_name):
                file = gateway.get_file(api_key_name=self.api_key_name, name=self.name)
        except ResultError as error:
            if error.permanent and isinstance(error.__cause__, GatewayError):
                return Description()
            raise
        return Description(
            size=file.size, checksum=_checksum(file.sha256), content_type=file.content_type
        )

    def copy_to(self, sink: Sink, described: Description, offset: int) -> None:  # noqa: ARG002  # a Source
        """Stream the content, always from its start."""
        with as_result_error(self.name, self.api_key_name):
            gateway.download_file(api_key_name=self.api_key_name, name=self.name, sink=sink)


@contextmanager
def as_result_error(name: str, api_key_name: str) -> Iterator[None]:
    """Turn the gateway's errors about ``name`` into ``ResultError``."""
    try:
        yield
    except ConfigurationError as error:
        raise ResultError(str(error), permanent=True) from error
    except GatewayError as error:
        meanings = {
            401: f"the Gemini API does not accept the API key {api_key_name!r} for {name}",
            403: f"{name} may not be read with the API key {api_key_name!r}, or does not exist: "
            "it can be read with a key of the project that started the job",
            404: f"{name} does not exist, or no longer",
        }
        meaning = meanings.get(error.status or 0, f"{name} could not be read")
        raise ResultError(f"{meaning} (Google says: {error})", permanent=error.permanent) from error


def _checksum(sha256: str) -> Checksum | None:
    """The API gives base64, of the digest or of its hexadecimal form; both are seen."""
    try:
        digest = base64.b64decode(sha256, validate=True)
        if len(digest) == 2 * SHA256_BYTES:
            digest = bytes.fromhex(digest.decode("ascii"))
    except (binascii.Error, ValueError):
        return None
    return Checksum(algorithm="sha256", digest=digest) if len(digest) == SHA256_BYTES else None
