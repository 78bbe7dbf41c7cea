"""Running deliveries again: one, or all that filters find; see how far it is, and stop it."""

from __future__ import annotations

import getpass
import time
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from gemini_webhooks import clock, replay
from gemini_webhooks.deliveries import Selection, rows
from gemini_webhooks.deliveries.selection import MAX_ID
from gemini_webhooks.management.subcommands.base import (
    Options,
    Subcommand,
    confirm,
    count,
    endpoint_named,
    moment,
)
from gemini_webhooks.models import Replay as ReplayRow
from gemini_webhooks.models import WebhookDelivery

#: How often ``--wait`` looks how far it is, in seconds.
POLL_SECONDS = 1.0
What = ReplayRow.What

FILTERS = {
    "types": "--type",
    "endpoint": "--endpoint",
    "root": "--root",
    "states": "--state",
    "since": "--since",
    "until": "--until",
    "metadata": "--metadata",
    "failed_receiver": "--failed-receiver",
    "error_class": "--error-class",
    "all": "--all",
}
OF_MANY = {"dry_run": "--dry-run", "rate": "--rate", "yes": "--yes", "wait": "--wait"}


class Replay(Subcommand):
    """``replay``."""

    name = "replay"
    summary = "run the receivers of a stored delivery again, or those of all that filters find"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which deliveries, what of them, who asks and why, and how fast."""
        parser.add_argument("webhook_id", metavar="WEBHOOK_ID", nargs="?")
        parser.add_argument("--receiver", action="append", dest="receivers", metavar="NAME")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--failed", action="store_true", help="only receivers that gave up")
        what.add_argument("--results", action="store_true", help="only fetch the result file again")
        parser.add_argument("--actor", help="who asks for it; the login name by default")
        parser.add_argument("--reason", default="", help="why, for those who wonder")
        many = parser.add_argument_group("instead of WEBHOOK_ID, all deliveries that meet these")
        many.add_argument("--type", action="append", dest="types", help="of the event")
        where = many.add_mutually_exclusive_group()
        where.add_argument("--endpoint", metavar="SLUG")
        where.add_argument("--root", action="store_true", help="came to the root endpoint")
        many.add_argument(
            "--state", action="append", dest="states", choices=WebhookDelivery.State.values
        )
        many.add_argument("--since", metavar="TIME", help="received at this ISO 8601 time or later")
        many.add_argument("--until", metavar="TIME", help="received before this ISO 8601 time")
        many.add_argument(
            "--metadata", action="append", metavar="PATH=VALUE", help="such as tenant=acme"
        )
        many.add_argument("--failed-receiver", metavar="NAME", help="this receiver gave up")
        many.add_argument("--error-class", metavar="CLASS", help="a receiver gave up with it")
        many.add_argument("--all", action="store_true", help="every delivery there is")
        many.add_argument("--dry-run", action="store_true", help="say how many, and run nothing")
        many.add_argument("--rate", type=count, metavar="N", help="deliveries per minute")
        many.add_argument("--yes", action="store_true", help="do not ask")
        many.add_argument("--wait", action="store_true", help="until workers are done with it")

    def run(self, options: Options) -> dict[str, Any]:
        """Make runs due again, or begin a replay that does."""
        given = [option for name, option in FILTERS.items() if _is_given(options[name])]
        of_many = [option for name, option in OF_MANY.items() if _is_given(options[name])]
        if options["webhook_id"] is None:
            if not given:
                raise CommandError(
                    "Name a delivery, or say which ones are meant, for example with "
                    "--state failed; --all means every one."
                )
            return self._many(options)
        if given or of_many:
            raise CommandError(f"{(given + of_many)[0]} does not go with a webhook id.")
        return self._one(options)

    def _one(self, options: Options) -> dict[str, Any]:
        delivery = rows(WebhookDelivery).filter(webhook_id=options["webhook_id"]).first()
        if delivery is None:
            raise CommandError(f"There is no delivery with the webhook id {options['webhook_id']}.")
        runs = replay.replay(
            delivery,
            receivers=options["receivers"],
            only_failed=options["failed"],
            only_results=options["results"],
            actor=_actor(options),
            reason=options["reason"],
        )
        return {"replayed": delivery.webhook_id, "runs": len(runs)}

    def _many(self, options: Options) -> dict[str, Any]:
        if options["all"] and any(_is_given(options[name]) for name in FILTERS if name != "all"):
            raise CommandError("--all means every delivery: it does not go with other filters.")
        selection = _selection(options)
        chosen: dict[str, Any] = {
            "what": _what(options),
            "receivers": tuple(options["receivers"] or ()),
        }
        if options["dry_run"]:
            return _previewed(replay.preview(selection, **chosen), json=options["json"])
        if not options["yes"]:
            found = replay.preview(selection, **chosen)
            question = f"Replay {_number(found)} deliveries? Receivers run again."
            confirm(question, str(found.count), "Nothing was replayed.")
        begun = replay.start(
            selection,
            **chosen,
            rate=options["rate"],
            everything=options["all"],
            actor=_actor(options),
            reason=options["reason"],
        )
        if options["wait"]:
            begun = self._wait(begun)
            self.differs = begun.state != ReplayRow.State.FINISHED
            return _shown(begun)
        return {"replay": begun.pk, "deliveries": begun.total}

    def _wait(self, begun: ReplayRow) -> ReplayRow:
        """Say how far it is, until it has ended. Workers do it, or a drain."""
        told = ""
        self.tell(f"Replay {begun.pk} goes on if this is interrupted; stop-replay ends it.")
        while True:
            begun = rows(ReplayRow).get(pk=begun.pk)
            if _progress(begun) != told:
                told = _progress(begun)
                self.tell(told)
            if begun.state != ReplayRow.State.RUNNING:
                return begun
            time.sleep(POLL_SECONDS)

    def lines(self, report: Any) -> list[str]:
        """Leave out what says nothing."""
        return super().lines({name: value for name, value in report.items() if value != ""})


class Replays(Subcommand):
    """``replays``."""

    name = "replays"
    summary = "list the replays, the newest first"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """How many, and which."""
        parser.add_argument("--limit", type=count, default=20, help="at most (%(default)s)")
        parser.add_argument("--running", action="store_true", help="only those that have not ended")

    def run(self, options: Options) -> list[dict[str, Any]]:
        """List them."""
        found = rows(ReplayRow).order_by("-pk")
        if options["running"]:
            found = found.filter(state=ReplayRow.State.RUNNING)
        return [_shown(one) for one in found[: options["limit"]]]

    def lines(self, report: Any) -> list[str]:
        """One line for each."""
        if not report:
            return ["There are no replays."]
        return [_line(one) for one in report]


class StopReplay(Subcommand):
    """``stop-replay``."""

    name = "stop-replay"
    summary = "stop a replay; what it has begun goes on"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which one, and who wants it."""
        parser.add_argument("id", type=_id, metavar="ID", help="as `replays` lists it")
        parser.add_argument("--actor", help="who wants it; the login name by default")

    def run(self, options: Options) -> dict[str, Any]:
        """Stop it."""
        found = rows(ReplayRow).filter(pk=options["id"]).first()
        if found is None:
            raise CommandError(f"There is no replay {options['id']}.")
        if not replay.stop(found, actor=_actor(options)):
            raise CommandError(f"Replay {found.pk} had ended before.")
        found.refresh_from_db()
        return {"stopped": found.pk, "replayed": found.replayed, "skipped": found.skipped}


def _actor(options: Options) -> str:
    return options["actor"] or getpass.getuser()


def _what(options: Options) -> str:
    asked = {
        What.FAILED: options["failed"],
        What.RESULTS: options["results"],
        What.RECEIVERS: options["receivers"],
    }
    chosen = [what.value for what, is_asked in asked.items() if is_asked]
    if len(chosen) > 1:
        raise CommandError("--receiver goes with neither --failed nor --results.")
    return chosen[0] if chosen else What.EVERYTHING.value


def _selection(options: Options) -> Selection:
    return Selection(
        event_types=tuple(options["types"] or ()),
        endpoint=_endpoint(options),
        states=tuple(options["states"] or ()),
        since=moment(options["since"]) if options["since"] is not None else None,
        until=moment(options["until"]) if options["until"] is not None else None,
        metadata=dict(map(_condition, options["metadata"] or ())),
        receiver=options["failed_receiver"],
        error_class=options["error_class"],
    )


def _is_given(value: object) -> bool:
    """An empty text is given, too: a variable of a script may be empty by mistake."""
    return value is not None and value is not False


def _endpoint(options: Options) -> str | None:
    if options["root"]:
        return ""
    slug: str | None = options["endpoint"]
    return None if slug is None else endpoint_named(slug).slug


def _condition(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals:
        raise CommandError("--metadata takes a path and a value, as in tenant=acme.")
    return path, value


def _number(found: replay.Preview) -> str:
    return f"at least {found.count}" if found.at_least else str(found.count)


def _previewed(found: replay.Preview, *, json: bool) -> dict[str, Any]:
    exact: dict[str, Any] = {"deliveries": found.count, "at_least": found.at_least}
    return {
        "dry_run": True,
        **(exact if json else {"deliveries": _number(found)}),
        "without_body": found.without_body,
        "oldest": _time(found.oldest),
        "newest": _time(found.newest),
        "sample": [webhook_id for _, webhook_id in found.sample],
    }


def _shown(one: ReplayRow) -> dict[str, Any]:
    """What is printed of a replay."""
    return {
        "replay": one.pk,
        "state": one.state,
        "what": one.what,
        "receivers": one.receivers,
        "selection": one.selection,
        "rate": one.rate or "",
        "deliveries": one.total,
        "replayed": one.replayed,
        "skipped": one.skipped,
        "actor": one.actor,
        "reason": one.reason,
        "started": _time(one.created_at),
        "ended": _time(one.finished_at),
        "stopped_by": one.stopped_by,
    }


def _line(shown: dict[str, Any]) -> str:
    reason = f": {shown['reason']}" if shown["reason"] else ""
    return (
        f"{shown['replay']}  {shown['state']}  {shown['replayed']} of {shown['deliveries']}"
        f" ({shown['skipped']} skipped)  {shown['what']}  {shown['started']}"
        f"  {shown['actor']}{reason}"
    )


def _progress(one: ReplayRow) -> str:
    return f"{one.state}: {one.replayed} of {one.total}, {one.skipped} skipped"


def _time(moment_of: datetime | None) -> str:
    return f"{clock.aware(moment_of):%Y-%m-%dT%H:%M:%SZ}" if moment_of else ""


def _id(text: str) -> int:
    """Type of an argument: a primary key."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if not 1 <= number <= MAX_ID:
        raise ArgumentTypeError(f"{text[:40]!r} is no number of a replay")
    return number
