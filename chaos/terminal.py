"""What the commands have in common: they print, may be interrupted, and say by the exit code."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from chaos.processes import ChaosError

NOT_RUN = 2


class Report(Protocol):
    """What an experiment comes to."""

    @property
    def good(self) -> bool:
        """Whether everything held."""

    def lines(self) -> Sequence[str]:
        """For people."""

    def as_json(self) -> dict[str, Any]:
        """For scripts."""


def tell(run: Callable[[Callable[[str], None]], Report], file: Path | None) -> int:
    """Run, print, and return the exit code: 0 held, 1 broken, 2 not run."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    try:
        report = run(_say)
    except ChaosError as error:
        return complain(str(error))
    for line in ("", *report.lines()):
        _say(line)
    if file:
        file.write_text(json.dumps(report.as_json(), indent=2))
    return 0 if report.good else 1


def complain(reason: str) -> int:
    """Say why it could not be tried."""
    sys.stderr.write(f"chaos: {reason}\n")
    return NOT_RUN


def _leave(*_: object) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(NOT_RUN)  # unwinds, so that everything is ended


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
