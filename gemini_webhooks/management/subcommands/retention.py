"""Taking away what is old, or what somebody wants to be erased."""

from __future__ import annotations

import getpass
import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from gemini_webhooks import retention
from gemini_webhooks.management.subcommands.base import Options, Subcommand, confirm, count
from gemini_webhooks.retention import Target

TELL_SECONDS = 2.0


class Progress:
    """Says on standard error how far a long work is."""

    def __init__(self, command: Subcommand) -> None:
        self._tell = command.tell
        self._told_at = time.monotonic()

    def __call__(self, kind: str, done: int) -> None:
        """So much of a kind is done."""
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self._told_at = time.monotonic()
            self._tell(f"{kind}: {done} so far")


class Prune(Subcommand):
    """``prune``."""

    name = "prune"
    summary = "remove what is older than RETENTION_DAYS says"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """How much, and whether at all."""
        parser.add_argument("--limit", type=count, help="rows of each kind at most")
        parser.add_argument(
            "--dry-run", action="store_true", help="count what would be removed, and remove nothing"
        )

    def run(self, options: Options) -> dict[str, Any]:
        """One pass; exit code 1 if something could not be removed."""
        if options["dry_run"]:
            return {"dry_run": True, **_counts(retention.count())}
        pruned = retention.prune(limit=options["limit"], tell=Progress(self))
        self.differs = bool(pruned.failed or pruned.held)
        return asdict(pruned)


class Erase(Subcommand):
    """``erase``."""

    name = "erase"
    summary = "remove on request what belongs to a resource, or to a value of the metadata"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """What, who asks, and whether to ask back."""
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--resource", metavar="ID", help="a batch, interaction or operation")
        what.add_argument(
            "--metadata", metavar="PATH=VALUE", help="such as tenant=acme or customer.id=7"
        )
        parser.add_argument("--actor", help="who asks for it; the login name by default")
        parser.add_argument(
            "--dry-run", action="store_true", help="count what would be erased, and erase nothing"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def run(self, options: Options) -> dict[str, Any]:
        """Erase it; exit code 1 if something is left over."""
        target, answer = _target(options)
        if options["dry_run"]:
            return {"dry_run": True, **asdict(retention.preview(target))}
        if not options["yes"]:
            found = retention.preview(target)
            question = (
                f"Erase {found.deliveries} deliveries, {found.results} result files and the"
                f" metadata of {found.jobs} jobs? Nothing brings them back."
            )
            confirm(question, answer, "Nothing was erased.")
        actor = options["actor"] or getpass.getuser()
        erased = retention.erase(target, actor=actor, tell=Progress(self))
        if erased.left:
            self.differs = True
            self.stderr.write(
                "Some are being processed, or their file could not be deleted (see the log):"
                " repeat this in a minute."
            )
        if erased.awaited:
            self.stderr.write(
                "Some jobs have not ended: their events will come, with what Google knows."
                " Repeat this after that."
            )
        return asdict(erased)


def _target(options: Options) -> tuple[Target, str]:
    if options["resource"] is not None:
        return retention.about_resource(options["resource"]), options["resource"]
    return retention.with_metadata(options["metadata"]), options["metadata"]


def _counts(pruned: retention.Pruned) -> dict[str, int]:
    """What only a real pass finds out is left out."""
    unknown = ("failed", "held", "complete")
    return {name: value for name, value in asdict(pruned).items() if name not in unknown}
