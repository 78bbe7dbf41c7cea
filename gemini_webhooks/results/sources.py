"""Where result files come from.

An event can make this site read only buckets that ``ALLOWED_BUCKETS`` names, and files and
batches at the Gemini API. URLs are never requested as they are: they are translated to one of
those, so that no event can send us, or an API key, to a host of its choice.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from gemini_webhooks import gateway
from gemini_webhooks.conf import GOOGLE_API, SETTING, settings
from gemini_webhooks.exceptions import ResultError
from gemini_webhooks.results.files_api import GeminiFile
from gemini_webhooks.results.gcs import StorageObject
from gemini_webhooks.results.inline import BatchAnswers
from gemini_webhooks.results.types import Source

STORAGE_HOST = "storage.googleapis.com"
RESOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
FILE_IN_PATH = re.compile(r"/files/([^/:]+)(?::download)?$")


def source_for(uri: str, api_key_name: str) -> Source:
    """Pick the source by the form of ``uri``; makes no request.

    Args:
        uri: ``gs://bucket/object``, ``files/…``, ``batches/…`` (its inline answers) or an
            ``https`` URL of one of the first two.
        api_key_name: name in ``API_KEYS``, for what the Gemini API holds.

    Raises:
        ResultError: permanent; it is none of these, or the bucket is not on the list.
    """
    if uri.startswith("gs://"):
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        return _object(bucket, name)
    collection, _, name = uri.partition("/")
    if collection == "files":
        return _file(name, api_key_name)
    if collection == "batches":
        return _batch(name, api_key_name)
    return _by_url(uri, api_key_name)


def _by_url(uri: str, api_key_name: str) -> Source:
    try:
        url = urlsplit(uri)
        origin = url.scheme, url.hostname, url.port
    except ValueError:
        raise _unknown(uri) from None
    if origin in (_origin(GOOGLE_API), _origin(gateway.base_url())):
        found = FILE_IN_PATH.search(url.path)
        if found:
            return _file(found[1], api_key_name)
    elif origin == ("https", STORAGE_HOST, None):
        return _by_storage_url(url)
    elif url.scheme in ("http", "https"):
        raise ResultError(
            f"{url.hostname} is not a host of Google's: the file was not fetched", permanent=True
        )
    raise _unknown(uri)


def _by_storage_url(url: SplitResult) -> Source:
    bucket, _, name = unquote(url.path).removeprefix("/").partition("/")
    return _object(bucket, name)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _object(bucket: str, name: str) -> Source:
    if not bucket or not name:
        raise ResultError("the URI names no object in a bucket", permanent=True)
    if bucket not in settings.ALLOWED_BUCKETS:
        raise ResultError(
            f"bucket {bucket} may not be read: add it to {SETTING}['ALLOWED_BUCKETS'] if it is "
            "yours, then replay the delivery",
            permanent=True,
        )
    return StorageObject(bucket=bucket, name=name)


def _file(name: str, api_key_name: str) -> Source:
    if not RESOURCE_NAME.fullmatch(name):
        raise _unknown(f"files/{name}")
    return GeminiFile(name=f"files/{name}", api_key_name=api_key_name)


def _batch(name: str, api_key_name: str) -> Source:
    if not RESOURCE_NAME.fullmatch(name):
        raise _unknown(f"batches/{name}")
    return BatchAnswers(name=f"batches/{name}", api_key_name=api_key_name)


def _unknown(uri: str) -> ResultError:
    return ResultError(f"no way to fetch {uri[:200]!r} is known", permanent=True)
