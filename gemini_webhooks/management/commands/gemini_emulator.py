"""``manage.py gemini_emulator``: a local Gemini API."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gemini_webhooks.emulator import cli


class Command(BaseCommand):
    """Serves until it is interrupted."""

    help = "Serve a local Gemini API that runs jobs and delivers signed webhooks."
    # It needs neither a database nor a site that is set up.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Those of the emulator."""
        cli.add_arguments(parser)
        cli.add_json(parser)

    def handle(self, **given: Any) -> None:
        """Serve, report, and end at the first signal."""
        try:
            cli.serve(given, cli.writing_to(self.stdout))
        except cli.CannotServe as error:
            raise CommandError(str(error)) from error
