"""The measurements of requests still measure, with a second instead of minutes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import servers

PROJECT = Path(__file__).resolve().parent.parent
SHORT = ["--rounds", "1", "--seconds", "1", "--json"]


def measured(module: str, *words: str) -> tuple[str, Any]:
    """What it prints, and the JSON at its end."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *words],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk")
@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("duplicates", ["duplicates", "new", "V duplicates", "V new"]),
        ("dynamic", ["dynamic", "static"]),
        ("tail", ["ours", "V"]),
        ("endpoints", ["1", "3"]),
        ("rows", ["2,000 rows", "none"]),
    ],
)
def test_all_that_is_compared_is_accepted(what: str, names: list[str], tmp_path: Path) -> None:
    words = ["--endpoints", "1", "3", "--rows", "2000", "--database", "sqlite://"]
    _, figures = measured("ingest", what, *words, "--broker", "memory://", *SHORT)

    assert list(figures["runs"]) == names
    for [run] in figures["runs"].values():
        assert run["refused"] == 0
        assert run["rate"] > 0


@pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk")
def test_forged_requests_are_refused_and_few_of_them_are_stored() -> None:
    text, figures = measured("ingest", "forged", "--database", "sqlite://", *SHORT)

    for [run] in figures["runs"].values():
        assert run["refused"] == run["requests"] > 0
    [rows] = [line for line in text.splitlines() if line.startswith("rows of refused")]
    assert 0 < int(rows.rpartition(" ")[2]) <= 120  # of two processes


@pytest.mark.server("postgres")
@pytest.mark.server("amqp")
def test_latency_is_that_of_all_events() -> None:
    words = ["--database", servers.URLS["postgres"], "--broker", servers.URLS["amqp"]]
    _, figures = measured("latency", "--rates", "10", *words, *SHORT)

    assert list(figures) == ["10/s ours", "10/s N"]
    for percentiles in figures.values():
        assert 0 < percentiles["p50"] <= percentiles["p95"] <= percentiles["p99"]


def test_imports_are_compared() -> None:
    _, figures = measured("imports", "--rounds", "1", "--json")

    assert figures["CPU"]["bare_ms"] > 0
    assert figures["modules"] > 0
    assert figures["optional"] == []
