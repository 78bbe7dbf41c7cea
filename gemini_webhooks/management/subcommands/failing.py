"""What has failed for good: list it, mute it, tell of it."""

from __future__ import annotations

import getpass
import shlex
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from gemini_webhooks import clock, failures
from gemini_webhooks.failures import Group
from gemini_webhooks.management.subcommands.base import Options, Subcommand, count, moment, table

HEAD = ("RECEIVER", "ERROR CLASS", "COUNT", "FIRST", "LAST", "MUTED")
MOST = 1000


class Failures(Subcommand):
    """``failures``."""

    name = "failures"
    summary = "list what has failed for good, by receiver and class of error"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """How many, or an e-mail instead."""
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--limit", type=count, default=100, help="groups at most (%(default)s)")
        how.add_argument(
            "--tell",
            action="store_true",
            help="send the e-mail that is due by FAILURE_EMAILS instead, as beat has it done",
        )

    def run(self, options: Options) -> Any:
        """List the groups, or tell of them."""
        if options["tell"]:
            told = failures.digest()
            return {"told": told.failures if told else 0}
        return [_shown(group) for group in failures.groups(limit=options["limit"])]

    def lines(self, report: Any) -> list[str]:
        """A table, and what to do next."""
        if isinstance(report, dict):
            return super().lines(report)
        if not report:
            return ["Nothing has failed for good."]
        return [*table([HEAD, *map(_cells, report)]), "", *_hint(report)]


class Mute(Subcommand):
    """``mute``."""

    name = "mute"
    summary = "send no e-mails about failures of a receiver, for a time or until unmuted"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which, for how long, and why."""
        _which(parser)
        parser.add_argument("--until", metavar="TIME", help="ISO 8601; until unmuted by default")
        parser.add_argument("--reason", default="", help="why, for those who wonder")
        parser.add_argument("--actor", help="who wants it; the login name by default")

    def run(self, options: Options) -> dict[str, Any]:
        """Mute it."""
        until = moment(options["until"]) if options["until"] is not None else None
        actor = options["actor"] or getpass.getuser()
        chosen = _chosen(options)
        for group in chosen:
            failures.mute(*group.key, until=until, actor=actor, reason=options["reason"])
        return {"muted": _words(chosen), "until": until or "it is unmuted"}


class Unmute(Subcommand):
    """``unmute``."""

    name = "unmute"
    summary = "send e-mails about failures of a receiver again"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which."""
        _which(parser)
        parser.add_argument("--actor", help="who wants it; the login name by default")

    def run(self, options: Options) -> dict[str, Any]:
        """Unmute what of it is muted."""
        actor = options["actor"] or getpass.getuser()
        found = _chosen(options)
        unmuted = [group for group in found if failures.unmute(*group.key, actor=actor)]
        return {"unmuted": _words(unmuted) or "nothing of it was muted"}


def _which(parser: ArgumentParser) -> None:
    parser.add_argument("receiver", metavar="RECEIVER", help="its name, as `failures` lists it")
    parser.add_argument(
        "--error-class",
        metavar="CLASS",
        help="failures with this class of error; with all that it has now by default",
    )


def _chosen(options: Options) -> list[Group]:
    """The groups that are meant.

    Raises:
        CommandError, NoSuchGroup: there is none.
    """
    receiver, error_class = options["receiver"], options["error_class"]
    if error_class is not None:
        return [failures.group(receiver, error_class)]
    every = failures.groups(limit=MOST)
    found = [group for group in every if group.receiver == receiver]
    if not found:
        raise CommandError(f"Nothing has failed for good in {receiver}.")
    return found


def _words(groups: list[Group]) -> list[str]:
    return [f"{group.receiver} ({group.error_class or '-'})" for group in groups]


def _shown(group: Group) -> dict[str, Any]:
    """What is printed of a group; not the error, which may quote a payload."""
    shown = {**asdict(group), "muted": group.mute is not None}
    del shown["latest_error"]
    return shown


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    muted = ""
    if row["muted"]:
        until = row["mute"]["until"]
        muted = f"until {_time(until)}" if until else "yes"
    return (
        row["receiver"],
        row["error_class"] or "-",
        str(row["count"]),
        _time(row["first_seen"]),
        _time(row["last_seen"]),
        muted,
    )


def _time(moment: datetime | None) -> str:
    return f"{clock.aware(moment):%Y-%m-%dT%H:%MZ}" if moment else "-"


def _hint(report: list[dict[str, Any]]) -> list[str]:
    """How to run the first of them again."""
    first = next((row for row in report if row["count"]), None)
    if first is None:
        return ["Nothing is left of what is muted."]
    words = ["replay", "--failed-receiver", first["receiver"]]
    if first["error_class"]:
        words += ["--error-class", first["error_class"]]
    # Without it, receivers run again that have succeeded.
    words += ["--receiver", first["receiver"]]
    return [f"After a fix: `manage.py gemini_webhooks {shlex.join(words)}`"]
