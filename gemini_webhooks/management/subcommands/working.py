"""Processing by hand, or without a broker: sweep, drain."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser

from gemini_webhooks import processing, tasks
from gemini_webhooks.management.subcommands.base import Options, Subcommand, count


class Sweep(Subcommand):
    """``sweep``."""

    name = "sweep"
    summary = "hand on what was lost between database and broker"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """How much."""
        parser.add_argument("--limit", type=count, default=500, help="rows of each kind at most")

    def run(self, options: Options) -> dict[str, int]:
        """Leave nothing out, however fresh."""
        counts: dict[str, int] = tasks.sweep(options["limit"], everything=True)
        return counts


class Drain(Subcommand):
    """``drain``."""

    name = "drain"
    summary = "process what is due straight from the database, without a broker"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """How long."""
        how_long = parser.add_mutually_exclusive_group()
        how_long.add_argument("--limit", type=count, help="end after so many steps")
        how_long.add_argument(
            "--forever", action="store_true", help="go on until SIGTERM or Ctrl-C: a whole worker"
        )

    def run(self, options: Options) -> dict[str, int]:
        """Process, once or for good."""
        drained = self._forever() if options["forever"] else processing.drain(options["limit"])
        return {
            "deliveries": drained.deliveries,
            "runs": drained.runs,
            "results": drained.results,
        }

    def _forever(self) -> processing.Drained:
        stop = threading.Event()

        def end(number: int, frame: object) -> None:  # noqa: ARG001  # as signal calls it
            stop.set()
            signal.signal(number, signal.SIG_DFL)  # a second one does not wait

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        self.tell("Processing what comes in; SIGTERM or Ctrl-C ends it after this run.")
        return processing.drain_forever(stop)
