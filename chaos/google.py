"""Google's side but for the sender: the key set, and a bucket that has bad moments.

A process of its own, ``python -m chaos.google CONFIG``, so that it can be killed and stopped.
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google_crc32c import Checksum

from chaos.servers import LOOPBACK

BUCKET = "chaos"
OBJECTS = 24
#: About so many requests to the bucket fail while there are faults.
BAD_MOMENTS_SECONDS = 0.4


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """An object of the bucket; ``crc32c`` is in base64."""

    name: str
    data: bytes
    crc32c: str

    @property
    def uri(self) -> str:
        """As an event names it."""
        return f"gs://{BUCKET}/{self.name}"


def stored_file(seed: int, number: int) -> StoredFile:
    """The same file for the same numbers: JSON lines of 1 to 120 kB."""
    source = random.Random(f"{seed}-{number}")  # noqa: S311  # no secret
    lines = [
        json.dumps({"key": f"{number}-{row}", "response": {"text": source.randbytes(40).hex()}})
        for row in range(source.randint(10, 900))
    ]
    data = "\n".join(lines).encode() + b"\n"
    checksum = Checksum()  # type: ignore[no-untyped-call]  # half typed
    checksum.update(data)  # type: ignore[no-untyped-call]  # likewise
    digest = base64.b64encode(checksum.digest()).decode()  # type: ignore[no-untyped-call]  # likewise
    return StoredFile(name=f"out/{number}.jsonl", data=data, crc32c=digest)


def serve(config: Path) -> None:
    """Serve until the process is ended."""
    from gemini_webhooks.emulator import EmulatorServer  # noqa: PLC0415  # needs settings

    settings = json.loads(config.read_text())
    key_set = json.dumps(settings["key_set"]).encode()

    class KeySet(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(key_set)))
            self.end_headers()
            self.wfile.write(key_set)

        def log_message(self, *_: object) -> None:
            pass

    keys = ThreadingHTTPServer((LOOPBACK, settings["keys_port"]), KeySet)
    threading.Thread(target=keys.serve_forever, daemon=True).start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with EmulatorServer(LOOPBACK, settings["bucket_port"]) as server:
        store = server.emulator.storage
        for number in range(OBJECTS):
            file = stored_file(settings["seed"], number)
            store.put(BUCKET, file.name, file.data, "application/jsonl")
        source = random.Random(settings["seed"])  # noqa: S311  # no secret
        while not ended.wait(BAD_MOMENTS_SECONDS):
            # What no request met is not kept for later.
            while store.next_failure() is not None or store.next_cut() is not None:
                pass
            if Path(settings["calm"]).exists():
                continue
            if source.random() < 0.5:
                store.fail_next(source.choice([429, 500, 503]))
            else:
                store.cut_next(source.randrange(60_000))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chaos.site.settings")
    serve(Path(sys.argv[1]))
