"""FileService, with the resumable upload of the SDK."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse

from gemini_webhooks.emulator.dispatch import Call, check_key, view
from gemini_webhooks.emulator.errors import ApiError, invalid
from gemini_webhooks.emulator.media import content
from gemini_webhooks.emulator.resources import new_id
from gemini_webhooks.emulator.uploads import StoredFile, Upload

GCS_URI = re.compile(r"gs://([^/]+)/(.+)")
FILE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


def upload(call: Call) -> HttpResponse:
    """Start an upload or take a chunk of one: both have the same URL, but for the id.

    The id is the permission to send chunks, as the SDK sends no API key with them.
    """
    upload_id = call.request.GET.get("upload_id")
    if upload_id is not None:
        return _receive(call, upload_id)
    check_key(call.request, call.emulator.options.api_key)
    return _start(call)


def index(call: Call) -> dict[str, Any]:
    """One page of files."""
    page, token = call.page(call.emulator.files, size=10, limit=100)
    answer: dict[str, Any] = {"files": [file.as_json() for file in page]}
    return {**answer, "nextPageToken": token} if token else answer


def show(call: Call, file_id: str) -> dict[str, Any]:
    """One file's description."""
    return call.emulator.files.get(file_id).as_json()


def delete(call: Call, file_id: str) -> dict[str, Any]:
    """Forget a file."""
    call.emulator.files.remove(file_id)
    return {}


def register(call: Call) -> dict[str, Any]:
    """Make files of objects in Cloud Storage; the emulator's, as it knows no other."""
    uris = call.json().get("uris")
    if not isinstance(uris, list) or not uris:
        raise invalid("uris must name at least one object.")
    found = [_object(call, uri) for uri in uris]
    return {"files": [call.emulator.files.add(file).as_json() for file in found]}


def download(call: Call, file_id: str) -> StreamingHttpResponse:
    """One file's content. Google refuses uploaded files here; that helps nobody locally."""
    file = call.emulator.files.get(file_id)
    response = content(file.data, len(file.data), call.request.headers.get("range", ""))
    response["Content-Type"] = file.mime_type or "application/octet-stream"
    return response


def _object(call: Call, uri: Any) -> StoredFile:
    match = GCS_URI.fullmatch(uri) if isinstance(uri, str) else None
    if match is None:
        raise invalid("uris must have the form gs://bucket/object.")
    stored = call.emulator.storage.get(*match.groups())
    data = stored.data if isinstance(stored.data, bytes) else stored.data.read_bytes()
    return StoredFile(
        data=data,
        mime_type=stored.content_type,
        source="REGISTERED",
        display_name=stored.name,
    )


def _start(call: Call) -> HttpResponse:
    given = call.json().get("file") or {}
    if not isinstance(given, dict):
        raise invalid("file is not an object.")
    announced = call.request.headers.get("x-goog-upload-header-content-type")
    started = Upload(
        file_id=_file_id(call, given),
        mime_type=_either(given, "mime_type", "mimeType") or announced or "",
        display_name=_either(given, "display_name", "displayName"),
    )
    call.emulator.files.uploads.add(started)
    url = f"{call.base_url()}{call.request.path}?upload_id={started.id}"
    return JsonResponse({}, headers={"X-Goog-Upload-URL": url, "X-Goog-Upload-Status": "active"})


def _receive(call: Call, upload_id: str) -> HttpResponse:
    started = call.emulator.files.uploads.get(upload_id)
    offset = call.request.headers.get("x-goog-upload-offset", "0")
    if not (offset.isascii() and offset.isdigit()):
        raise invalid("X-Goog-Upload-Offset is not a number.")
    started.append(int(offset), call.body)
    if "finalize" not in call.request.headers.get("x-goog-upload-command", ""):
        return JsonResponse({}, headers={"X-Goog-Upload-Status": "active"})
    call.emulator.files.uploads.remove(started.id)
    file = call.emulator.files.add(started.file())
    return JsonResponse({"file": file.as_json()}, headers={"X-Goog-Upload-Status": "final"})


def _file_id(call: Call, given: dict[str, Any]) -> str:
    file_id = str(given.get("name") or "").removeprefix("files/") or new_id()
    if FILE_ID.fullmatch(file_id) is None:
        raise invalid("A file's name has up to 40 lower-case letters, digits and dashes.")
    if any(file.id == file_id for file in call.emulator.files):
        raise ApiError(409, f"File '{file_id}' exists.")
    return file_id


def _either(given: dict[str, Any], snake: str, camel: str) -> str:
    return str(given.get(snake) or given.get(camel) or "")


uploading = view(public=True, POST=upload, PUT=upload)
collection = view(GET=index)
resource = view(GET=show, DELETE=delete)
registering = view(POST=register)
downloading = view(GET=download)
