"""``manage.py gemini_webhooks SUBCOMMAND``: what operators and scripts do, by hand or by cron."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gemini_webhooks.exceptions import GeminiWebhooksError
from gemini_webhooks.management.subcommands import SUBCOMMANDS, printable, require_text

#: As a shell reports a program that SIGPIPE ended.
PIPE_CLOSED = 141


class Command(BaseCommand):
    """Finds the subcommand, prints what it did."""

    help = "Endpoints, deliveries and their processing. Exit code 0 means done, 1 means not."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands."""
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        for name, subcommand in SUBCOMMANDS.items():
            summary = subcommand.summary
            sub = subparsers.add_parser(name, help=summary, description=summary)
            sub.add_argument("--json", action="store_true", help="print JSON for scripts")
            subcommand.add_arguments(sub)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Let some start whatever is wrong; end quietly when nobody reads any more."""
        if SUBCOMMANDS[options["subcommand"]].skips_checks:
            options["skip_checks"] = True
        try:
            try:
                return super().execute(*args, **options)
            finally:
                self.stdout.flush()
        except BrokenPipeError:
            # Whoever read it has seen enough, as `head` has. Python would complain once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(PIPE_CLOSED)

    def handle(self, *_: Any, subcommand: str, **options: Any) -> None:
        """Run one subcommand."""
        require_text(options)
        chosen = SUBCOMMANDS[subcommand](self.stdout, self.stderr, self.style)
        try:
            report = chosen.run(options)
        except GeminiWebhooksError as error:
            raise CommandError(printable(str(error))) from None
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2, default=str))
        else:
            self.stdout.write("\n".join(map(printable, chosen.lines(report))))
        if chosen.differs:
            sys.exit(1)
