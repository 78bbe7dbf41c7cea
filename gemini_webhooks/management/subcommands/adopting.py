"""Entering jobs in the ledger that polling code has started."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from gemini_webhooks import reconcile, seals
from gemini_webhooks.conf import settings
from gemini_webhooks.management.subcommands.base import (
    Options,
    Subcommand,
    amount,
    confirm,
    count,
    endpoint_named,
    printable,
    table,
)
from gemini_webhooks.management.subcommands.retention import Progress
from gemini_webhooks.models import Job
from gemini_webhooks.reconcile import DISCOVER_SINCE, Audience, Candidate, Search

HEAD = ("NAME", "DISPLAY NAME", "STATE", "CREATED", "HERE")
STANDINGS = {
    "new": "new",
    "told": "its event has come",
    "ended": "ended; --ended takes it in",
    "old": "ended too long ago for --hours",
    "unknown": "Google does not know it",
}
RECONCILE = "`manage.py gemini_webhooks reconcile`"
JOBS = {"batch": "batches", "interaction": "interactions", "operation": "videos"}


class Adopt(Subcommand):
    """``adopt``."""

    name = "adopt"
    summary = "enter jobs in the ledger that other code has started, such as a loop that polls"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which jobs, and what they are given."""
        parser.add_argument(
            "name",
            metavar="NAME",
            nargs="*",
            help="batches/…, …/operations/… or the id of an interaction; without any, the batches "
            "that Google lists",
        )
        parser.add_argument("--file", metavar="FILE", help="has more names, one a line; - is stdin")
        parser.add_argument("--api-key", metavar="NAME", help="one of API_KEYS; all by default")
        parser.add_argument(
            "--match",
            metavar="PATTERN",
            help="only batches with such a display name, as in nightly-*; others may share the key",
        )
        parser.add_argument(
            "--ended",
            action="store_true",
            help="also those that have ended and whose event never came",
        )
        parser.add_argument(
            "--hours",
            type=amount,
            default=DISCOVER_SINCE.total_seconds() / 3600,
            help="with --ended: leave out what ended longer ago (%(default)g)",
        )
        parser.add_argument(
            "--metadata",
            action="append",
            metavar="KEY=VALUE",
            help="user_metadata of all of them, may be repeated; VALUE is JSON, or else a text",
        )
        parser.add_argument(
            "--endpoint", metavar="SLUG", help="count their events as come in at this one"
        )
        parser.add_argument(
            "--due-in",
            type=amount,
            default=0.0,
            metavar="SECONDS",
            help="when reconcile is to ask about them first; its next pass by default",
        )
        parser.add_argument("--limit", type=count, default=1000, help="at most (%(default)s)")
        parser.add_argument("--dry-run", action="store_true", help="list them, and enter nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def run(self, options: Options) -> dict[str, Any]:
        """List them, ask, enter them; exit code 1 if Google could not be asked about some."""
        metadata = _metadata(options["metadata"] or ())
        endpoint = endpoint_named(options["endpoint"]) if options["endpoint"] is not None else None
        found, failures = self._found(options)
        new = [each for each in found if each.standing == "new"]
        chosen = new[: options["limit"]]
        if chosen and not options["dry_run"]:
            if not options["yes"]:
                question = f"Enter {len(chosen)} of them in the ledger?"
                confirm(question, str(len(chosen)), "Nothing was entered.")
            due_in = timedelta(seconds=options["due_in"])
            chosen = list(
                reconcile.adopt(chosen, due_in=due_in, user_metadata=metadata, endpoint=endpoint)
            )
        others = self._others(options) if options["match"] and not found else None
        return {
            "dry_run": options["dry_run"],
            "adopted": len(chosen),
            "left": max(len(new) - options["limit"], 0),
            "ended": sum(each.standing == "ended" for each in found),
            **({} if others is None else {"others_running": others}),
            "due_in": options["due_in"],
            "failures": failures,
            "jobs": [asdict(each) for each in found if _is_shown(each, options)],
            "told_by_google": [asdict(each) for each in reconcile.audiences(chosen)],
        }

    def _found(self, options: Options) -> tuple[list[Candidate], list[str]]:
        """What Google has, told as a table, and the API keys that could not be asked."""
        search = Search(
            api_key_name=options["api_key"],
            match=options["match"] or "",
            ended_since=timedelta(hours=options["hours"]) if options["ended"] else None,
        )
        names = _names(options)
        progress = Progress(self)
        found: list[Candidate] = []
        for candidate in search.listed() if names is None else search.named(names):
            found.append(candidate)
            progress("jobs looked at", len(found))
        troubled = any(each.standing in ("unknown", "failed") for each in found)
        self.differs = troubled or bool(search.failures)
        if not options["json"]:
            self._tell([each for each in found if _is_shown(each, options)], search.failures)
        return found, search.failures

    def _others(self, options: Options) -> int:
        """How many batches run that have another display name."""
        search = Search(api_key_name=options["api_key"])
        return sum(each.standing == "new" or _runs_here(each) for each in search.listed())

    def lines(self, report: Any) -> list[str]:
        """How many, and what happens next."""
        said = [f"{'would adopt' if report['dry_run'] else 'adopted'}: {report['adopted']}"]
        if "others_running" in report:
            others = report["others_running"]
            said.append(f"matched: 0 (with another display name, {others} run)")
        if report["left"]:
            said.append(f"left: {report['left']} (run it again, or raise --limit)")
        if report["ended"]:
            said.append(f"ended: {report['ended']} (--ended takes in those whose event never came)")
        if report["adopted"]:
            told = [Audience(**each) for each in report["told_by_google"]]
            said += ["", *map(_told, told)]
            first = f"in {report['due_in']:g} s" if report["due_in"] else "on its next pass"
            said.append(
                f"reconcile asks Google about each, first {first}, then after half of the time that"
                " it has been running (5 minutes to 6 hours)."
                + f" Beat does that, or {RECONCILE}."
                * all(each.endpoints for each in told)
            )
        return said

    def _tell(self, shown: list[Candidate], failures: list[str]) -> None:
        """What was found, before anybody is asked about it."""
        if shown:
            for line in table([HEAD, *map(_cells, shown)]):
                self.stdout.write(line)
            self.stdout.write("")
        for failure in failures:
            self.stderr.write(printable(failure))
        self.stdout.flush()


def _names(options: Options) -> list[str] | None:
    """The names that were given; ``None`` if what Google lists is meant.

    Raises:
        CommandError: the file cannot be read or holds no names, or ``--match`` goes with names.
    """
    if options["file"] is None and not options["name"]:
        return None
    if options["match"] is not None:
        raise CommandError("--match goes by what Google lists: it does not go with names.")
    if options["file"] is None:
        given: list[str] = options["name"]
        return given
    try:
        if options["file"] == "-":
            text = sys.stdin.read()
        else:
            text = Path(options["file"]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise CommandError(f"{options['file']} cannot be read: {why}.") from None
    found = [*options["name"], *filter(None, map(str.strip, text.splitlines()))]
    if not found:
        raise CommandError(f"{options['file']} holds no names.")
    return found


def _metadata(given: Iterable[str]) -> dict[str, Any]:
    """What ``--metadata`` says.

    Raises:
        CommandError: it is not clear, or no job can carry it.
    """
    metadata: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CommandError("--metadata takes a key and a value, as in tenant=acme.")
        try:
            metadata[key] = json.loads(value)
        except (ValueError, RecursionError):
            metadata[key] = value
    try:
        return seals.checked(metadata)
    except (TypeError, ValueError) as error:
        raise CommandError(f"--metadata: {error}.") from None


def _is_shown(candidate: Candidate, options: Options) -> bool:
    """Of those that Google lists, thousands may have ended long ago."""
    if options["name"] or options["file"] is not None:
        return True
    return _runs_here(candidate) or candidate.standing not in ("tracked", "ended", "old")


def _runs_here(candidate: Candidate) -> bool:
    """Whether it is in the ledger and has not ended."""
    running = (Job.State.SUBMITTED, Job.State.REQUIRES_ACTION)
    return candidate.standing == "tracked" and candidate.reason in running


def _cells(candidate: Candidate) -> tuple[str, ...]:
    created = candidate.created_at
    here = {
        "tracked": f"in the ledger ({candidate.reason})",
        "failed": f"not asked: {candidate.reason}",
        **STANDINGS,
    }
    cells = (
        candidate.name,
        candidate.display_name or "-",
        candidate.state or "-",
        f"{created:%Y-%m-%dT%H:%MZ}" if created else "-",
        here[candidate.standing],
    )
    return tuple(map(printable, cells))


def _told(audience: Audience) -> str:
    if not audience.endpoints:
        unless = ", unless one is that SIGNING_SECRETS has the secret of" * bool(
            settings.SIGNING_SECRETS
        )
        return (
            f"No webhook is registered with API key {audience.api_key_name} for "
            f"{JOBS[audience.kind]}, so no event will come{unless}. "
            f"{RECONCILE} (or its beat entry) asks Google."
        )
    jobs = f"{JOBS[audience.kind]} of API key {audience.api_key_name}"
    told = f"Google tells {', '.join(audience.endpoints)} of {jobs}"
    return f"{told}, but not of {', '.join(audience.unheard)}." if audience.unheard else f"{told}."
