"""Running one receiver in the foreground, to see what it does."""

from __future__ import annotations

import asyncio
import getpass
import pdb  # noqa: T100  # what --pdb is for
import sys
import traceback
from argparse import ArgumentParser
from bdb import BdbQuit
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from gemini_webhooks import recordings
from gemini_webhooks.exceptions import GiveUp, RetryLater
from gemini_webhooks.management.subcommands.base import Options, Subcommand, printable
from gemini_webhooks.management.subcommands.recording import delivery_named, recording_in
from gemini_webhooks.models import Attempt, WebhookDelivery
from gemini_webhooks.receivers import Receiver


class Run(Subcommand):
    """``run``."""

    name = "run"
    summary = "run one receiver here, on a stored delivery or a file, and undo what it wrote"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """What, on what, and whether it is meant."""
        parser.add_argument(
            "webhook_id", metavar="WEBHOOK_ID", help="or the file of an exported delivery"
        )
        parser.add_argument(
            "--receiver",
            metavar="NAME",
            help="or the last part of its dotted name; not needed if only one is for this event",
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--pdb", action="store_true", help="open the debugger where it fails")
        how.add_argument(
            "--commit",
            action="store_true",
            help="keep what it writes, and enter the attempt in the log, as a replay does",
        )
        parser.add_argument("--actor", help="with --commit: who asks; the login name by default")

    def run(self, options: Options) -> dict[str, Any]:
        """Run it; exit code 1 unless it succeeded."""
        if options["commit"]:
            return self._for_good(options)
        with recordings.rolled_back(), self._delivery(options["webhook_id"]) as delivery:
            receiver = recordings.find(delivery, options["receiver"])
            with _aside(options):
                outcome, words = self._try(receiver, delivery, debug=options["pdb"])
        self.differs = outcome != Attempt.Outcome.SUCCEEDED
        return {
            "receiver": receiver.name,
            "delivery": delivery.webhook_id,
            "outcome": outcome,
            **({"says": words} if words else {}),
            "database": "rolled back",
        }

    @contextmanager
    def _delivery(self, name: str) -> Iterator[WebhookDelivery]:
        """The stored one; that of a file is there until the end of the block."""
        if not _is_file(name):
            yield _stored(name)
            return
        recording = recording_in(name)
        loaded = recordings.load(recording)
        if not loaded.created:  # that one may have been changed
            loaded = recordings.load(recording, again=True)
        try:
            yield loaded.delivery
        finally:
            recordings.forget(loaded.results)

    def _try(
        self, receiver: Receiver, delivery: WebhookDelivery, *, debug: bool
    ) -> tuple[str, str]:
        """How it ended, in the words of an attempt, and why."""
        try:
            recordings.call(receiver, delivery)
        except recordings.CannotRun:
            raise
        except RetryLater as request:
            return Attempt.Outcome.POSTPONED, str(request)
        except GiveUp as error:
            return Attempt.Outcome.GAVE_UP, str(error)
        except BdbQuit:
            return Attempt.Outcome.FAILED, "the debugger was left"
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # noqa: BLE001  # its own
            self.stderr.write(printable("".join(traceback.format_exception(error))))
            self.stderr.flush()
            if debug:
                pdb.post_mortem(error.__traceback__)
            return Attempt.Outcome.FAILED, type(error).__name__
        return Attempt.Outcome.SUCCEEDED, ""

    def _for_good(self, options: Options) -> dict[str, Any]:
        if _is_file(options["webhook_id"]):
            raise CommandError("--commit goes with a stored delivery: `load` the file before.")
        delivery = _stored(options["webhook_id"])
        receiver = recordings.find(delivery, options["receiver"])
        actor = options["actor"] or getpass.getuser()
        with _aside(options):
            ended = recordings.run_for_good(receiver, delivery, actor=actor)
        if ended.traceback:
            self.stderr.write(printable(ended.traceback))
        self.differs = ended.outcome not in (Attempt.Outcome.SUCCEEDED, Attempt.Outcome.SKIPPED)
        retry = f"{ended.next_attempt_at:%Y-%m-%dT%H:%M:%SZ}" if ended.next_attempt_at else ""
        return {
            "receiver": receiver.name,
            "delivery": delivery.webhook_id,
            "outcome": ended.outcome,
            "run": ended.state,
            **({"next_attempt": retry} if retry else {}),
            "database": "the attempt is in the log" if self.differs else "committed",
        }


def _aside(options: Options) -> AbstractContextManager[object]:
    """Keeps what a receiver prints out of the JSON."""
    return redirect_stdout(sys.stderr) if options["json"] else nullcontext()


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # too long for a name
        return False


def _stored(name: str) -> WebhookDelivery:
    try:
        return delivery_named(name)
    except CommandError:
        raise CommandError(
            f"There is neither a delivery with the webhook id {name[:255]} nor a file of that name."
        ) from None
