"""Runs what is compared in turn, and prints medians and ratios."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.sending import Measured

POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres"
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
#: Of :class:`Measured`, with the words for a ratio of two.
RATIOS = {"rate": "throughput", "cpu": "CPU", "p50": "median", "p99": "p99"}

Runs = dict[str, list[Measured]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is to be compared.

    Attributes:
        measures: by name, what measures it once.
        pairs: names whose ratio is printed.
        url: of a database that is measured, to tell its version.
        after: says what else is to be known in the end.
    """

    measures: Mapping[str, Callable[[], Measured]]
    pairs: Sequence[tuple[str, str]]
    url: str
    after: Callable[[], str] = str


def options(description: str | None) -> argparse.ArgumentParser:
    """What all that sends requests can be told."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", default=POSTGRES, metavar="URL", help="(%(default)s)")
    parser.add_argument("--broker", default=RABBITMQ, metavar="URL", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="of each run (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, too")
    return parser


def in_turn(measures: Mapping[str, Callable[[], Measured]], rounds: int) -> Runs:
    """Each measure once in every round; what the first round says is not kept: it warms up."""
    runs: Runs = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            measured = measure()
            sys.stderr.write(f"{number or 'warming up'}: {name}: {measured}\n")
            if number:
                runs[name].append(measured)
    return runs


def ratios(ours: Sequence[Measured], theirs: Sequence[Measured]) -> dict[str, float]:
    """Medians of the ratios of each round."""
    found: dict[str, float] = {}
    for field in RATIOS:
        pairs = [(getattr(a, field), getattr(b, field)) for a, b in zip(ours, theirs, strict=True)]
        if all(below for _, below in pairs):
            found[field] = round(statistics.median(a / b for a, b in pairs), 3)
    return found


def report(runs: Runs, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Print medians and ratios; returns them with all that was measured."""
    for name, measured in runs.items():
        rate, cpu, p50, p99 = (
            statistics.median(getattr(one, field) for one in measured) for field in RATIOS
        )
        refused, sent = (
            sum(getattr(one, field) for one in measured) for field in ("refused", "requests")
        )
        say(
            f"{name:15} {rate:7.0f}/s  CPU {cpu:5.2f} ms  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms"
            f"  refused {refused} of {sent}"
        )
    compared = {f"{a} / {b}": ratios(runs[a], runs[b]) for a, b in pairs if {a, b} <= set(runs)}
    for name, found in compared.items():
        words = ", ".join(f"{RATIOS[field]} {value:.2f}" for field, value in found.items())
        say(f"{name}: {words}")
    every = {name: [asdict(one) for one in measured] for name, measured in runs.items()}
    return {"ratios": compared, "runs": every}


def printed_as_json(figures: Mapping[str, Any]) -> None:
    """For scripts: one line."""
    say(json.dumps(figures))


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
