"""One measurement of :mod:`benchmarks.fetch`, in the process that it starts for it.

python -m benchmarks.fetching fetch WAY
python -m benchmarks.fetching read FILE ROUNDS
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import django
import urllib3

from benchmarks.fetch import READ_REPEATED, Measured

if os.environ["BENCH_WITHOUT"]:
    sys.modules[os.environ["BENCH_WITHOUT"]] = None  # type: ignore[assignment]  # not importable
django.setup()

from django.core.files.base import ContentFile  # noqa: E402  # only then
from django.core.files.storage import default_storage  # noqa: E402  # only then
from google.cloud.storage import Client  # noqa: E402  # likewise
from google_crc32c import Checksum  # noqa: E402  # likewise

from gemini_webhooks import tasks  # noqa: E402  # likewise
from gemini_webhooks.models import ResultFile, WebhookDelivery  # noqa: E402  # likewise

BUCKET, LARGE, SMALL = "bench", "large.jsonl", "small.jsonl"
MIB = 1024**2
#: A little more than the object has by default.
TOUCHED_MIB = 1200


def measured(run: Callable[[], None]) -> Measured:
    """Run once; memory counts from what the process has now."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    idle = _status("VmRSS")
    begun, cpu = time.perf_counter(), time.process_time()
    run()
    return Measured(
        seconds=time.perf_counter() - begun,
        cpu=time.process_time() - cpu,
        peak=(_status("VmHWM") - idle) / 1024,
    )


def _status(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0])


def announced(name: str) -> ResultFile:
    """A result file that a delivery has announced."""
    delivery = WebhookDelivery.objects.create(
        webhook_id=f"msg_{uuid.uuid4().hex}", signing="hmac", event_type="batch.succeeded"
    )
    return ResultFile.objects.create(
        delivery=delivery,
        source_uri=f"gs://{BUCKET}/{name}",
        next_attempt_at=delivery.received_at,
    )


def ours(name: str, path: Path) -> Callable[[], None]:
    """The task, and what must be true afterwards."""
    del path
    result = announced(name)

    def run() -> None:
        tasks.fetch_result(result.pk)
        result.refresh_from_db()
        if result.state != ResultFile.State.COMPLETE or not result.rows or result.failed_rows:
            raise SystemExit(f"not fetched: {result.state} {result.error}")

    return run


def downloaded(name: str, path: Path) -> Callable[[], None]:
    """The official client's own way."""

    def run() -> None:
        client: Any = Client.create_anonymous_client()
        client.bucket(BUCKET).blob(name).download_to_filename(str(path))

    return run


def streamed(name: str, path: Path, *, checked: bool) -> Callable[[], None]:
    """What one would write with an HTTP library."""
    url = f"{os.environ['STORAGE_EMULATOR_HOST']}/download/storage/v1/b/{BUCKET}/o/{name}"

    def run() -> None:
        checksum: Any = Checksum()  # type: ignore[no-untyped-call]  # half typed
        pool = urllib3.PoolManager()
        response = pool.request("GET", url, fields={"alt": "media"}, preload_content=False)
        with path.open("wb") as file:
            while piece := response.read(MIB):
                file.write(piece)
                if checked:
                    checksum.update(piece)
        response.release_conn()

    return run


WAYS: dict[str, Callable[[str, Path], Callable[[], None]]] = {
    "ours": ours,
    "download_to_filename": downloaded,
    "stream+crc32c": partial(streamed, checked=True),
    "stream": partial(streamed, checked=False),
}


def fetch(way: str) -> list[Measured]:
    """One fetch, by a process that has done it before, with a small object."""
    path = Path(os.environ["BENCH_MEDIA"], "plain.jsonl")
    path.parent.mkdir(exist_ok=True)
    WAYS[way](SMALL, path)()
    path.unlink(missing_ok=True)
    _touch_memory(path)
    done = [measured(WAYS[way](LARGE, path))]
    path.unlink(missing_ok=True)
    for result in ResultFile.objects.exclude(file=""):
        result.file.delete()
    return done


def _touch_memory(path: Path) -> None:
    """Have the kernel hold as much memory as the file will take in its cache.

    A virtual machine gets memory from its host at the first use, and gives back what was free for
    two seconds; then writing a file takes ten times as long, or not, by chance.
    """
    block = bytes(MIB)
    with path.open("wb") as file:
        for _ in range(TOUCHED_MIB):
            file.write(block)
    path.unlink()


def read(path: Path, rounds: int) -> list[Measured]:
    """Our iterator and a bare loop in turn, over the same file."""
    result = announced(LARGE)
    result.file.save("rows.jsonl", ContentFile(path.read_bytes() * READ_REPEATED))
    stored = Path(default_storage.path(result.file.name or ""))

    def iterated() -> None:
        for _ in result.rows():
            pass

    def bare() -> None:
        with stored.open("rb") as file:
            for line in file:
                json.loads(line)

    iterated()
    bare()
    done = [measured(one) for _ in range(rounds) for one in (iterated, bare)]
    stored.unlink()
    return done


if __name__ == "__main__":
    kind, *others = sys.argv[1:]
    found = fetch(*others) if kind == "fetch" else read(Path(others[0]), int(others[1]))
    sys.stdout.write(json.dumps([asdict(one) for one in found]))
