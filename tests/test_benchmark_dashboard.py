"""The measurement of the dashboard still measures, with a thousand rows instead of a million."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def test_it_measures(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'benchmark.sqlite3'}"
    words = ["--rows", "1000", "--json", "--database", database]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.dashboard", *words],
        cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    figures = json.loads(done.stdout.splitlines()[-1])

    assert figures["figures"] > 1000
    assert list(figures["periods"]) == ["1h", "24h", "7d", "30d"]
    assert all(period["median_ms"] > 0 for period in figures["periods"].values())
