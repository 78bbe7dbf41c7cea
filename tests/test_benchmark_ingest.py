"""The measurements of requests still measure, with a second instead of minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import servers
from tests.measurements import measured

PROJECT = Path(__file__).resolve().parent.parent
SHORT = ["--rounds", "1", "--seconds", "1", "--json"]


@pytest.mark.server("wrk")
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


@pytest.mark.server("wrk")
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
