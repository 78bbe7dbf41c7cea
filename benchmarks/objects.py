"""A large object, as Cloud Storage's JSON API gives it out, with no work of its own.

The kernel sends a file of whole lines again and again, so the size costs neither disk nor memory,
and what is measured is the one who reads. ``small.jsonl`` is the file once, to warm up with.

    python -m benchmarks.objects FILE REPEATED PORT
"""

from __future__ import annotations

import base64
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import google_crc32c


class Server(ThreadingHTTPServer):
    """Serves the file at ``path``, ``repeated`` times."""

    daemon_threads = True

    def __init__(self, path: Path, repeated: int, port: int) -> None:
        self.path, self.repeated = path, repeated
        self.once = path.stat().st_size
        content, crc = path.read_bytes(), 0
        self.crc32c: dict[int, str] = {}
        for number in range(1, repeated + 1):
            crc = google_crc32c.extend(crc, content)
            self.crc32c[number] = base64.b64encode(crc.to_bytes(4, "big")).decode()
        super().__init__(("127.0.0.1", port), Handler)


class Handler(BaseHTTPRequestHandler):
    """Metadata, or with ``alt=media`` the content."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answer."""
        repeated = 1 if "small.jsonl" in self.path else self.server.repeated
        size, crc32c = self.server.once * repeated, self.server.crc32c[repeated]
        if "alt=media" in self.path:
            self._begin(size, "application/jsonl", crc32c)
            self._send(repeated)
            return
        metadata = {
            "kind": "storage#object",
            "generation": "1",
            "size": str(size),
            "crc32c": crc32c,
            "contentType": "application/jsonl",
        }
        body = json.dumps(metadata).encode()
        self._begin(len(body), "application/json")
        self.wfile.write(body)

    def _send(self, repeated: int) -> None:
        with self.server.path.open("rb") as file:
            for _ in range(repeated):
                at = 0
                while at < self.server.once:
                    left = self.server.once - at
                    at += os.sendfile(self.connection.fileno(), file.fileno(), at, left)

    def _begin(self, length: int, content_type: str, crc32c: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Goog-Generation", "1")
        if crc32c:
            self.send_header("X-Goog-Hash", f"crc32c={crc32c}")
            self.send_header("X-Goog-Stored-Content-Length", str(length))
        self.end_headers()
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Be silent."""


if __name__ == "__main__":
    serving = Server(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    serving.serve_forever()
