"""Pausing receivers and endpoints, and resuming them."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from gemini_webhooks import clock, pausing
from gemini_webhooks.management.subcommands.base import Options, Subcommand, count
from gemini_webhooks.pausing import Paused


class Pauses(Subcommand):
    """``pauses``."""

    name = "pauses"
    summary = "list what is paused, and what is still being let go"

    def run(self, options: Options) -> list[dict[str, Any]]:  # noqa: ARG002  # it has none
        """List them, the oldest first."""
        return [_shown(paused) for paused in pausing.paused()]

    def lines(self, report: Any) -> list[str]:
        """One line for each."""
        return [_line(row) for row in report] or ["Nothing is paused."]


class Pause(Subcommand):
    """``pause``."""

    name = "pause"
    summary = "hold the runs of a receiver or endpoint; deliveries go on being stored"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """What, and why."""
        _which(parser)
        parser.add_argument("--reason", default="", help="why, for those who wonder")
        parser.add_argument(
            "--unknown-ok", action="store_true", help="also a receiver that has never run"
        )
        parser.add_argument("--actor", help="who wants it; the login name by default")

    def run(self, options: Options) -> dict[str, Any]:
        """Pause it."""
        pause = pausing.pause(
            **_chosen(options),
            reason=options["reason"],
            unknown_ok=options["unknown_ok"],
            actor=options["actor"] or getpass.getuser(),
        )
        return {"paused": pausing.name_of(pause)}


class Resume(Subcommand):
    """``resume``."""

    name = "resume"
    summary = "let go the runs that a pause holds, the oldest first"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """What, and how fast."""
        _which(parser)
        parser.add_argument(
            "--rate",
            type=count,
            metavar="RUNS",
            help="runs per minute; as fast as the workers can by default",
        )
        parser.add_argument("--actor", help="who wants it; the login name by default")

    def run(self, options: Options) -> dict[str, Any]:
        """Resume it, or go on at another rate."""
        pause = pausing.resume(
            pausing.find(**_chosen(options)),
            rate=options["rate"],
            actor=options["actor"] or getpass.getuser(),
        )
        return {
            "resumed": pausing.name_of(pause),
            "let_go": pause.released,
            "held": pausing.held_by(pause),
        }


def _which(parser: ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--receiver", metavar="NAME", help="a receiver, as its runs name it")
    which.add_argument("--endpoint", metavar="SLUG", help="what comes in at an endpoint")
    which.add_argument("--root", action="store_true", help="what comes in at the root address")


def _chosen(options: Options) -> dict[str, Any]:
    return {name: options[name] for name in ("receiver", "endpoint", "root")}


def _shown(paused: Paused) -> dict[str, Any]:
    pause = paused.pause
    return {
        "kind": pause.kind,
        "name": pausing.name_of(pause),
        "state": "letting go" if pause.resumed_at else "paused",
        "held": paused.held,
        "let_go": pause.released,
        "rate": pause.rate,
        "paused_at": clock.aware(pause.paused_at),
        "paused_by": pause.paused_by,
        "reason": pause.reason,
        "resumed_at": clock.aware(pause.resumed_at) if pause.resumed_at else None,
        "resumed_by": pause.resumed_by,
    }


def _line(row: dict[str, Any]) -> str:
    since = f"since {row['paused_at']:%Y-%m-%dT%H:%MZ} by {row['paused_by']}"
    state = f"{row['held']} held"
    if row["resumed_at"]:
        rate = f", {row['rate']} per minute" if row["rate"] else ""
        state = f"letting go{rate}: {row['let_go']} so far, {row['held']} held"
    reason = f"  ({row['reason']})" if row["reason"] else ""
    return f"{row['name']}  {since}  {state}{reason}"
