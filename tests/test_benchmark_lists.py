"""The measurement of lists still measures, with a thousand rows instead of a million."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers

PROJECT = Path(__file__).resolve().parent.parent


@pytest.mark.server("postgres")
def test_it_measures() -> None:
    words = ["--rows", "1000", "--times", "1", "--only", "failed", "--explain", "0.001"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.lists", "--database", servers.URLS["postgres"], *words],
        cwd=PROJECT, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    measured = re.findall(r"^\| (.*?) (?:\| \d+ ms ){4}\| (\d+) \|$", done.stdout, re.MULTILINE)

    assert [name for name, _ in measured] == [
        "deliveries: state failed",
        "deliveries: type batch.failed",
        "deliveries: failed and of a tenant",
        "deliveries: failed and by token",
        "deliveries: failed in 24 hours",
        "attempt: failed",
        "resultfile: failed",
    ]
    assert "Execution Time" in done.stdout
