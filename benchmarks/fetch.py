"""What fetching a result file costs, beside a bare copy of it; and what reading its rows costs.

    python -m benchmarks.fetch --database postgres://postgres@127.0.0.1:5432/postgres

Fetches one large object of JSONL from a server on this machine, each time in a process of its own:
with the task ``fetch_result`` (a row in the database, CRC32C, rows counted, into a
``FileSystemStorage``), with the official ``download_to_filename``, and as a plain HTTP stream into
a file with and without CRC32C. Then ``result.rows()`` beside a bare loop with ``json.loads``. All
in turn, several rounds. Makes a database of its own on that server, and removes it.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import random
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.harness import database, environment

WAYS = ("ours", "download_to_filename", "stream+crc32c", "stream")
READERS = ("rows()", "json.loads")
PACKAGES = ("Django", "google-cloud-storage", "google-crc32c", "urllib3", "msgspec")
TEXT = (
    "because sunlight is scattered by the molecules of air in all directions and blue light more "
    "than red light since it travels in shorter waves — which is what we call the “sky” as a café"
    "\n - in Tōkyō would\n"
)
BLOCK_ROWS = 2000
#: How often the lines are read in one go.
READ_REPEATED = 30


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run: seconds by the clock and of CPU, and how far memory went up, in MB."""

    seconds: float
    cpu: float
    peak: float = 0


def main() -> None:
    """Serve, fetch, read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--database", default="postgres://postgres@127.0.0.1:5432/postgres", metavar="URL"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1000, help="of the object")
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument(
        "--without-fast", action="store_true", help="as if the extra [fast] was not installed"
    )
    parser.add_argument(
        "--spool",
        type=Path,
        help="folder of the part files, if it is not to be on the storage's file system",
    )
    options = parser.parse_args()
    ways = options.way or WAYS
    machine = (
        f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    )
    sys.stdout.write(f"{machine}, {', '.join(map(_version, PACKAGES))}\n")
    fetches: dict[str, list[Measured]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder, database(options.database) as url:
        lines = Path(folder, "lines.jsonl")
        rows = write(lines)
        repeated = max(1, options.megabytes * 10**6 // lines.stat().st_size)
        size = repeated * lines.stat().st_size
        with served(lines, repeated) as address:
            variables = environment(url, "memory://", "whsec_" + _secret()) | {
                "DJANGO_SETTINGS_MODULE": "benchmarks.site.fetching",
                "BENCH_MEDIA": f"{folder}/media",
                "STORAGE_EMULATOR_HOST": address,
                "TMPDIR": str(options.spool or folder),
                "BENCH_WITHOUT": "msgspec" if options.without_fast else "",
            }
            for number in range(options.rounds):
                for way in ways:
                    fetches[way] += child(["fetch", way], variables)
                    sys.stderr.write(f"{number} {way}: {fetches[way][-1]}\n")
            done = child(["read", str(lines), str(options.rounds)], variables)
            reads = {reader: done[at :: len(READERS)] for at, reader in enumerate(READERS)}
    report(fetches, size / 10**6, "MB", ways[0])
    report(reads, rows * READ_REPEATED, "rows", READERS[0])


def report(runs: dict[str, list[Measured]], amount: float, unit: str, ours: str) -> None:
    """Medians, and ratios round by round."""
    out = sys.stdout.write
    for name, measured in runs.items():
        seconds, cpu = (
            statistics.median(getattr(one, field) for one in measured)
            for field in ("seconds", "cpu")
        )
        peak = max(one.peak for one in measured)
        out(f"{name:22} {amount / seconds:8.0f} {unit}/s  CPU {cpu:6.2f} s")
        out(f"  peak {peak:4.0f} MB above idle\n" if peak else "\n")
    for name, measured in runs.items():
        if name == ours or not runs[ours]:
            continue
        pairs = list(zip(runs[ours], measured, strict=True))
        rate = statistics.median(other.seconds / mine.seconds for mine, other in pairs)
        cpu = statistics.median(mine.cpu / other.cpu for mine, other in pairs)
        out(f"{ours} / {name}: {unit}/s {rate:.2f}, CPU {cpu:.2f}\n")


def write(path: Path) -> int:
    """Lines as a batch answers them; returns how many."""
    chance = random.Random(7)  # noqa: S311  # only to be the same each time
    words = TEXT.split(" ")
    with path.open("w", encoding="utf-8") as file:
        for number in range(BLOCK_ROWS):
            text = " ".join(chance.choices(words, k=chance.randint(50, 500)))
            row = {
                "key": f"request-{number}",
                "response": {
                    "candidates": [
                        {
                            "content": {"parts": [{"text": text}], "role": "model"},
                            "finishReason": "STOP",
                            "avgLogprobs": -chance.random(),
                        }
                    ],
                    "usageMetadata": {"promptTokenCount": number, "totalTokenCount": len(text)},
                    "modelVersion": "gemini-2.5-flash",
                    "responseId": f"{chance.getrandbits(120):030x}",
                },
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return BLOCK_ROWS


def child(arguments: Sequence[str], variables: dict[str, str]) -> list[Measured]:
    """Measure in a process of its own."""
    done = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-m", "benchmarks.fetching", *arguments],
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Measured(**one) for one in json.loads(done.stdout)]


@contextmanager
def served(lines: Path, repeated: int) -> Iterator[str]:
    """The object, in a process of its own; yields its server's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(lines), str(repeated), str(port)]
    server = subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-m", "benchmarks.objects", *arguments], stdout=subprocess.PIPE
    )
    try:
        if server.stdout is None or not server.stdout.readline():
            raise SystemExit("the object could not be served")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


if __name__ == "__main__":
    main()
