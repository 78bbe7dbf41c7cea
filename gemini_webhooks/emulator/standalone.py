"""``gemini-emulator``: the emulator without a Django site, for whoever tests against it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from django.conf import settings

from gemini_webhooks import __version__
from gemini_webhooks.emulator import cli

DESCRIPTION = "Serve a local Gemini API that runs jobs and delivers signed webhooks."


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until it is interrupted.

    Args:
        arguments: of the command line; those of the process if there are none.

    Returns:
        The exit code: 0, or 1 if it cannot serve; then standard error says why.
    """
    parser = ArgumentParser("gemini-emulator", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    cli.add_arguments(parser)
    cli.add_json(parser)
    given = vars(parser.parse_args(arguments))
    # No site: all that Django's requests and templates need are the defaults.
    settings.configure()
    try:
        cli.serve(given, cli.writing_to(sys.stdout))
    except cli.CannotServe as error:
        sys.stderr.write(f"gemini-emulator: {error}\n")
        return 1
    return 0
