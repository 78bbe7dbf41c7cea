"""``manage.py runserver --with-emulator``: the site with a local Gemini API beside it.

The emulator lives in the process that was called. The site is a child of it, which the reloader
starts anew at each change, so jobs and deliveries go on meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings as django_settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.commands.runserver import Command as Runserver
from django.utils import autoreload

from gemini_webhooks import dispatch, processing
from gemini_webhooks.conf import (
    EMULATOR,
    EMULATOR_BUCKET,
    EMULATOR_SITE,
    EMULATOR_WORKER,
    USUAL_BUCKET,
    USUAL_SITE,
)
from gemini_webhooks.emulator import EmulatorServer, cli

PREFIX = "emulator-"
#: Tells the child that it is one.
IS_BESIDE = "GEMINI_WEBHOOKS_BESIDE_EMULATOR"
SECONDS_TO_END = 5
EVERYWHERE = ("", "0", "0.0.0.0", "[::]")  # noqa: S104  # what runserver takes for all addresses


def install() -> None:
    """Give ``runserver`` the argument, whichever app's it is and wherever that app is listed."""
    commands: dict[str, Any] = get_commands()
    found = commands["runserver"]
    usual = found if isinstance(found, BaseCommand) else load_command_class(found, "runserver")
    if isinstance(usual, Runserver):
        commands["runserver"] = type("Command", (_WithEmulator, type(usual)), {})()


class _WithEmulator(Runserver):
    """Goes before the class of the command that would run otherwise."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Those of runserver, ours, and all of the emulator's."""
        super().add_arguments(parser)
        parser.add_argument(
            "--with-emulator", action="store_true", help="Serve a local Gemini API beside the site."
        )
        parser.add_argument(
            "--with-worker",
            action="store_true",
            help="Process what comes in, in the site's own process: no Celery needed.",
        )
        group = parser.add_argument_group("local Gemini API, with --with-emulator")
        cli.add_arguments(group, prefix=PREFIX)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Serve the emulator here and the site in a child; in the child, the site."""
        if not options.get("with_emulator") or IS_BESIDE in os.environ:
            return super().execute(*args, **options)
        if os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true":
            # At its start the command could not load the site, so nobody knew of the argument.
            raise CommandError("The site can be loaded now: start runserver --with-emulator again.")
        if not django_settings.DEBUG:
            raise CommandError("--with-emulator is for development: it needs DEBUG = True.")
        say = cli.writing_to(self.stdout)
        try:
            server = cli.prepare(options, say, prefix=PREFIX)
        except cli.CannotServe as error:
            raise CommandError(str(error)) from error
        variables = _variables(server, self._address(options))
        if options["with_worker"]:
            variables[EMULATOR_WORKER] = "1"
        with server:
            say(f"The Gemini API emulator, and its page, are at {server.url}")
            say("For manage.py and your own code, in another terminal:")
            exported = {**variables, **cli.environment(server)}
            for name, value in exported.items():
                say(f"  export {name}={value}")
            code = _run_site({**exported, IS_BESIDE: "1"})
        sys.exit(code)

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Serve, with a worker if one is wanted."""
        # While the code cannot be loaded there are no receivers to work for.
        autoreload.raise_last_exception()
        if options.get("with_worker"):
            dispatch.leave_to_drain()
            # Whatever it does when the reloader ends the process is taken up again: its lease ends.
            worker = threading.Thread(
                target=processing.drain_forever, args=(threading.Event(),), daemon=True
            )
            worker.start()
        super().inner_run(*args, **options)

    def _address(self, options: Mapping[str, Any]) -> str:
        """Where the site will be, as the child's command understands its arguments."""
        is_ipv6 = options["use_ipv6"]
        host, _, port = (options["addrport"] or "").rpartition(":")
        if host in EVERYWHERE:
            host = f"[{self.default_addr_ipv6}]" if is_ipv6 else self.default_addr
        return f"{self.protocol}://{host}:{port or self.default_port}"


def _variables(server: EmulatorServer, site: str) -> dict[str, str]:
    """What leads a process of the site to the emulator, see :mod:`gemini_webhooks.conf`."""
    options = server.emulator.options
    variables = {EMULATOR: server.url, EMULATOR_SITE: site, EMULATOR_BUCKET: options.bucket}
    usual = {EMULATOR_SITE: USUAL_SITE, EMULATOR_BUCKET: USUAL_BUCKET}
    return {name: value for name, value in variables.items() if usual.get(name) != value}


def _run_site(variables: Mapping[str, str]) -> int:
    """Run this command line again as a child, until it ends; return its exit code."""
    site = subprocess.Popen(autoreload.get_child_arguments(), env={**os.environ, **variables})  # noqa: S603  # our own
    signal.signal(signal.SIGTERM, lambda *_: site.terminate())
    try:
        return abs(site.wait())
    except KeyboardInterrupt:
        # A terminal sends it to the child as well.
        return 0
    finally:
        _end(site)


def _end(site: subprocess.Popen[bytes]) -> None:
    """Wait for a child that ends; end one that does not."""
    ways: tuple[Callable[[], object], ...] = (site.poll, site.terminate, site.kill)
    for end in ways:
        end()
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            site.wait(SECONDS_TO_END)
            return
