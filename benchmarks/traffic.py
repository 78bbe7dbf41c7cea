"""Requests, signed beforehand: lines for ``load.lua`` and :mod:`benchmarks.paced`.

A line is webhook id, timestamp, signature and body, between tabs; before them may be a path.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice


def new_secret() -> str:
    """A signing secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def new_ids(number: int) -> Iterator[str]:
    """Webhook ids that nobody else has."""
    return (f"msg_{secrets.token_hex(12)}" for _ in range(number))


def body_of(event_type: str = "batch.succeeded", **data: object) -> str:
    """An event about a job of its own, as thin as Google sends it."""
    about = {
        "id": f"batch_{secrets.token_hex(8)}",
        "output_file_uri": "gs://my-bucket/results.jsonl",
        **data,
    }
    envelope = {"type": event_type, "version": "v1", "timestamp": "2026-01-22T12:00:00Z"}
    return json.dumps({**envelope, "data": about})


def signed(
    secret: str, ids: Iterable[str], *, path: str = "", event_type: str = "batch.succeeded"
) -> Iterator[str]:
    """Static webhooks, signed now."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    now = int(time.time())
    for webhook_id in ids:
        body = body_of(event_type)
        content = f"{webhook_id}.{now}.{body}".encode()
        digest = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        yield line(webhook_id, now, f"v1,{digest}", body, path)


def spread(given: Sequence[tuple[str, str]], number: int) -> Iterator[str]:
    """So many static webhooks, in turn to each of ``given``: path and secret."""
    for path, secret in islice(cycle(given), number):
        yield from signed(secret, new_ids(1), path=path)


def line(webhook_id: str, timestamp: int, signature: str, body: str, path: str = "") -> str:
    """One request."""
    before = f"{path}\t" if path else ""
    return f"{before}{webhook_id}\t{timestamp}\t{signature}\t{body}\n"
