"""The measurement of pruning still measures, with a hundred rows instead of a million."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def test_it_measures(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'benchmark.sqlite3'}"
    words = ["--rows", "100", "--seconds", "0.5", "--json", "--database", database]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.prune", *words],
        cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    figures = json.loads(done.stdout.splitlines()[-1])

    assert figures["pruned"] == {"deliveries": 50, "payloads": 50, "complete": True}
    assert list(figures["requests"]) == ["before", "while pruning", "after"]
    assert all(phase["max_ms"] > 0 for phase in figures["requests"].values())
