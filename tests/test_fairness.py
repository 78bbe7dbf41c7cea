"""``make fairness`` in short, and that it notices what it is there for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")

from chaos import servers
from chaos.fairness import SMALL, FairnessOptions, Measured, Report

PROJECT = Path(__file__).resolve().parent.parent
OPTIONS = FairnessOptions(burst=4, trickle=2)
OTHERS = len(SMALL) * OPTIONS.trickle
FAIR = Report(
    options=OPTIONS,
    unlimited=Measured(big=[1.0] * 4, small=[2.0] * OTHERS, at_once=8),
    limited=Measured(big=[3.0] * 4, small=[0.5] * OTHERS, at_once=4),
)


@pytest.mark.server("postgres")
@pytest.mark.server("amqp")
@pytest.mark.skipif(servers.missing(broker="amqp") is not None, reason="needs the programs")
@pytest.mark.skipif("TOX_ENV_NAME" in os.environ, reason="one interpreter is enough")
def test_a_short_run_keeps_the_limit_and_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    options = f"--burst 80 --trickle 2 --seconds 1 --json {file}"
    run = subprocess.run(
        [sys.executable, "-m", "chaos.fairness", *options.split()],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    # How long they wait is for `make fairness` to judge, on a machine that is not busy.
    assert run.returncode in (0, 1), run.stdout + run.stderr
    report = json.loads(file.read_text())
    assert report["limited"]["at_once"] == 4
    assert report["unlimited"]["at_once"] > 4
    for part in ("limited", "unlimited"):
        assert (report[part]["big"]["events"], report[part]["small"]["events"]) == (80, 6)


def test_what_is_fair() -> None:
    assert FAIR.good
    assert FAIR.lines()[-1] == "It is fair."


@pytest.mark.parametrize(
    "change",
    [
        {"limited": replace(FAIR.limited, at_once=5)},
        {"limited": replace(FAIR.limited, small=[2.0] * OTHERS)},
        {"limited": replace(FAIR.limited, small=[0.5])},
        {"limited": replace(FAIR.limited, big=[3.0] * 3)},
        {"unlimited": replace(FAIR.unlimited, big=[1.0] * 5)},
        {"unlimited": replace(FAIR.unlimited, at_once=4)},
    ],
    ids=["limit", "no less", "small lost", "big lost", "doubled", "never crowded"],
)
def test_what_is_not(change: dict[str, Measured]) -> None:
    report = replace(FAIR, **change)  # type: ignore[arg-type]  # by name

    assert not report.good
    assert report.lines()[-1] == "FAILED."
