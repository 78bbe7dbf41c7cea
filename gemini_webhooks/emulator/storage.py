"""A read-only corner of the Cloud Storage JSON API."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from urllib.parse import quote

from django.http import StreamingHttpResponse

from gemini_webhooks.emulator.answers import jsonl, rows
from gemini_webhooks.emulator.dispatch import Answer, Call, view
from gemini_webhooks.emulator.errors import ApiError, invalid, not_found
from gemini_webhooks.emulator.media import content
from gemini_webhooks.emulator.objects import StoredObject
from gemini_webhooks.emulator.plans import Plan
from gemini_webhooks.emulator.resources import iso
from gemini_webhooks.emulator.state import Emulator

#: What the rows of a sample answer.
PROMPTS = ("Why is the sky blue?", "Why is the sea salty?")
MODEL = "gemini-2.5-flash"


def show(call: Call, bucket: str, name: str) -> Answer:
    """An object's metadata; its content with ``alt=media``."""
    if call.request.GET.get("alt") == "media":
        return download(call, bucket, name)
    found = _find(call, bucket, name)
    return _metadata(found, call.base_url())


def download(call: Call, bucket: str, name: str) -> StreamingHttpResponse:
    """An object's content."""
    found = _find(call, bucket, name)
    response = content(
        found.data,
        found.size,
        call.request.headers.get("range", ""),
        cut=call.emulator.storage.next_cut(),
    )
    response["Content-Type"] = found.content_type
    response["ETag"] = f'"{found.etag}"'
    response["X-Goog-Generation"] = str(found.generation)
    response["X-Goog-Metageneration"] = "1"
    response["X-Goog-Hash"] = f"crc32c={found.crc32c},md5={found.md5}"
    response["X-Goog-Stored-Content-Length"] = str(found.size)
    response["X-Goog-Stored-Content-Encoding"] = "identity"
    return response


def _find(call: Call, bucket: str, name: str) -> StoredObject:
    """The object, if the next request is not to fail and the preconditions hold."""
    status = call.emulator.storage.next_failure()
    if status is not None:
        raise ApiError(status, "Fails on request.")
    if _is_missing_sample(call.emulator, bucket, name):
        call.emulator.storage.put(bucket, name, _sample(), "application/jsonl")
        call.emulator.touch()
    found = call.emulator.storage.get(bucket, name)
    if _number(call, "generation") not in (None, found.generation):
        raise not_found(f"This generation of {bucket}/{name}")
    if _number(call, "ifGenerationMatch") not in (None, found.generation):
        raise ApiError(412, "The object has another generation.")
    return found


def _is_missing_sample(emulator: Emulator, bucket: str, name: str) -> bool:
    """Whether it is the output of a batch that there never was, as events made up name it."""
    is_sample = name.startswith("samples/") and name.endswith(".jsonl")
    if not is_sample or bucket != emulator.options.bucket or find_spec("google_crc32c") is None:
        return False
    return (bucket, name) not in emulator.storage


def _sample() -> bytes:
    requests = [
        {"key": f"sample-{number}", "request": {"contents": prompt}}
        for number, prompt in enumerate(PROMPTS, 1)
    ]
    return jsonl(rows(requests, MODEL, Plan()))


def _number(call: Call, name: str) -> int | None:
    value = call.request.GET.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise invalid(f"{name} is not a number.")
    return int(value)


def _metadata(found: StoredObject, base_url: str) -> dict[str, Any]:
    path = f"storage/v1/b/{quote(found.bucket, safe='')}/o/{quote(found.name, safe='')}"
    return {
        "kind": "storage#object",
        "id": f"{found.bucket}/{found.name}/{found.generation}",
        "selfLink": f"{base_url}/{path}",
        "mediaLink": f"{base_url}/download/{path}?generation={found.generation}&alt=media",
        "bucket": found.bucket,
        "name": found.name,
        "generation": str(found.generation),
        "metageneration": "1",
        "contentType": found.content_type,
        "size": str(found.size),
        "crc32c": found.crc32c,
        "md5Hash": found.md5,
        "etag": found.etag,
        "storageClass": "STANDARD",
        "timeCreated": iso(found.updated),
        "updated": iso(found.updated),
    }


resource = view(public=True, GET=show)
downloading = view(public=True, GET=download)
