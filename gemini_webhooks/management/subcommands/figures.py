"""Bringing the figures of the dashboard up to date."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from gemini_webhooks import trends
from gemini_webhooks.management.subcommands.base import Options, Subcommand
from gemini_webhooks.management.subcommands.retention import Progress


class RollUp(Subcommand):
    """``roll-up``."""

    name = "roll-up"
    summary = "bring the figures of the dashboard up to date"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Whether from the beginning."""
        parser.add_argument(
            "--again",
            action="store_true",
            help="count everything anew that is stored, as after restoring a backup",
        )

    def run(self, options: Options) -> dict[str, Any]:
        """Go on to the end, however much there is."""
        if options["again"]:
            trends.begin_again()
        return asdict(trends.roll_up(tell=Progress(self)))
