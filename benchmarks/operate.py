"""Whether operating stays quick with a million deliveries: lists, searches, dashboard, pruning.

    python -m benchmarks.operate --database postgres://postgres@127.0.0.1:5432/postgres

Runs :mod:`.lists`, :mod:`.dashboard` and :mod:`.prune` one after the other, each with a database
of its own, shows what they print, and in the end holds their medians against ``--target``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.comparing import POSTGRES, say


def main() -> int:
    """Run all, print; 1 if a page takes longer than the target."""
    options = _options()
    sizes = ["--database", options.database, "--rows", str(options.rows), "--json"]
    pages: dict[str, float] = _run("lists", *sizes, "--times", str(options.times))
    dashboard = _run("dashboard", *sizes)
    periods: Mapping[str, Mapping[str, float]] = dashboard["periods"]
    pages |= {f"dashboard: {period}": found["median_ms"] for period, found in periods.items()}
    figures: dict[str, Any] = {"pages": pages, "roll_up_ms": dashboard["usual_ms"]}
    if not options.no_prune:
        figures["prune"] = _run("prune", *sizes, "--seconds", str(options.seconds))
    late = {name: took for name, took in pages.items() if took > options.target}
    name, slowest = max(pages.items(), key=lambda page: page[1])
    say(f"{len(pages)} pages, the slowest took {slowest:.0f} ms in the median: {name}")
    say(f"longer than {options.target:g} ms: {len(late)}")
    for name, took in late.items():
        say(f"  {took:.0f} ms: {name}")
    say(f"roll-up of the dashboard: {figures['roll_up_ms']} ms")
    for when, requests in figures.get("prune", {}).get("requests", {}).items():
        say(f"requests {when}: median {requests['median_ms']} ms, p99 {requests['p99_ms']} ms")
    if options.json:
        say(json.dumps(figures))
    return 1 if late else 0


def _run(module: str, *words: str) -> dict[str, Any]:
    """Run a benchmark; what it prints is shown, but for the last line, which is JSON."""
    say(f"--- {module}")
    process = subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-m", f"benchmarks.{module}", *words], stdout=subprocess.PIPE, text=True
    )
    last = ""
    for line in process.stdout or ():
        if last:
            say(last)
        last = line.rstrip("\n")
    if process.wait():
        raise SystemExit(f"benchmarks.{module} ended with {process.returncode}")
    found: dict[str, Any] = json.loads(last)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", default=POSTGRES, metavar="URL", help="(%(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="(%(default)s)")
    parser.add_argument("--times", type=int, default=5, help="each page (%(default)s)")
    parser.add_argument(
        "--target", type=float, default=300, help="ms a page may take (%(default)s)"
    )
    parser.add_argument("--no-prune", action="store_true", help="leave out what takes longest")
    parser.add_argument(
        "--seconds", type=float, default=60, help="before and after pruning (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
