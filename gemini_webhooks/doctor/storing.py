"""Result files: where they are kept, and whether the buckets that they come from can be read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from importlib.util import find_spec

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages

from gemini_webhooks.conf import settings
from gemini_webhooks.doctor.findings import Finding, failure, ok, skipped, warning
from gemini_webhooks.doctor.site import Site
from gemini_webhooks.exceptions import ResultError
from gemini_webhooks.results.gcs import StorageObject

FOLDER = "gemini-results"


def storage(site: Site) -> Iterator[Finding]:
    """The result storage takes a file and removes it again."""
    del site
    alias = settings.RESULT_STORAGE
    if not settings.FETCH_RESULTS:
        yield skipped("results", "FETCH_RESULTS is off: results are not fetched.")
        return
    try:
        kept = storages[alias]
        if isinstance(kept, FileSystemStorage) and not kept.base_location:
            yield failure(
                "results",
                f"The storage “{alias}” has no folder: files would go to wherever a worker was "
                "started.",
                "Set MEDIA_ROOT, or the storage's location.",
            )
            return
        name = kept.save(f"{FOLDER}/doctor-{uuid.uuid4().hex}", ContentFile(b"doctor"))
        kept.delete(name)
    except Exception as error:  # noqa: BLE001  # storages raise what they like
        yield failure(
            "results",
            f"The storage “{alias}” does not take files: {type(error).__name__}.",
            "Check STORAGES (or MEDIA_ROOT), that the disk has room, and that this user may write "
            "and delete there.",
        )
    else:
        yield ok("results", f"The storage “{alias}” takes files and removes them.")


def buckets(site: Site) -> Iterator[Finding]:
    """The buckets that results may be read from can be read."""
    del site
    if not settings.FETCH_RESULTS:
        return
    if not settings.ALLOWED_BUCKETS:
        yield warning(
            "buckets",
            "ALLOWED_BUCKETS is empty: results in Cloud Storage are not read.",
            "Name the buckets that batches write to in ALLOWED_BUCKETS. If all results come from "
            "the Gemini API, leave it.",
        )
    elif not _has_extra():
        yield failure(
            "buckets",
            "google-cloud-storage is not installed, so no bucket can be read.",
            "Run pip install 'django-gemini-webhooks[gcs]'.",
        )
    else:
        for bucket in dict.fromkeys(settings.ALLOWED_BUCKETS):
            yield _readable(bucket)


def _has_extra() -> bool:
    try:
        return find_spec("google.cloud.storage") is not None
    except (ImportError, ValueError):
        return False


def _readable(bucket: str) -> Finding:
    """Ask for an object that is not there: only who may read is told that it is not."""
    name = f"buckets, {bucket}"
    try:
        StorageObject(bucket=bucket, name=f"{FOLDER}/doctor").describe()
    except ResultError as error:
        said = str(error)
        is_absent = "HTTP status 404" in said and "bucket does not exist" not in said
        # Who may read but not list is told of the missing right to list, instead of a 404.
        may_read = is_absent or "storage.objects.list" in said
        if not may_read:
            return failure(name, f"{said}.", "Without it results in this bucket stay unread.")
    return ok(name, "It can be read.")
