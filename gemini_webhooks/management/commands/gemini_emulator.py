"""``manage.py gemini_emulator``: a local Gemini API."""

from __future__ import annotations

import contextlib
import errno
import signal
import threading
from argparse import ArgumentParser
from dataclasses import fields
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gemini_webhooks.emulator import EmulatorServer, Options
from gemini_webhooks.emulator.options import OUTPUTS, TOKENS
from gemini_webhooks.exceptions import ConfigurationError

KEY = "emulator"


class Command(BaseCommand):
    """Serves until it is interrupted."""

    help = "Serve a local Gemini API that runs jobs and delivers signed webhooks."
    # It needs neither a database nor a site that is set up.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One option for each of the emulator's."""
        usual = Options(output="inline")
        add = parser.add_argument
        add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
        add("--port", type=int, default=8090, help="0 takes a free one (%(default)s)")
        add(
            "--job-seconds",
            type=float,
            default=usual.job_seconds,
            help="how long a job takes (%(default)s)",
        )
        add(
            "--output",
            choices=OUTPUTS,
            default="gcs",
            help="where the answers of a batch go (%(default)s)",
        )
        add("--bucket", default=usual.bucket, help="bucket for gcs output (%(default)s)")
        add(
            "--token",
            choices=TOKENS,
            default=usual.token,
            help="what the token of a dynamic webhook vouches for (%(default)s)",
        )
        add("--audience", help="aud of that token (the URI that is called)")
        add("--api-key", help="the only API key that is let in (any)")
        add(
            "--separate-projects",
            action="store_true",
            help="each API key has a project of its own, with its own webhooks (%(default)s)",
        )
        add(
            "--retry-base",
            type=float,
            default=usual.retry_base,
            help="seconds before the second try of a delivery, then doubling (%(default)s)",
        )
        add(
            "--grace-seconds",
            type=float,
            default=usual.grace_seconds,
            help="how long a rotated signing secret goes on to sign (%(default)s)",
        )
        add(
            "--max-tries",
            type=int,
            default=usual.max_tries,
            help="tries before a delivery is given up (%(default)s)",
        )
        add(
            "--delivery-timeout",
            type=float,
            default=usual.delivery_timeout,
            help="seconds that a receiver may take (%(default)s)",
        )
        add(
            "--duplicates",
            type=float,
            default=usual.duplicates,
            metavar="SHARE",
            help="share of the deliveries, 0 to 1, that are sent twice (%(default)s)",
        )
        add(
            "--lost",
            type=float,
            default=usual.lost,
            metavar="SHARE",
            help="share of the deliveries, 0 to 1, that are not sent (%(default)s)",
        )
        add(
            "--disable-after",
            type=int,
            default=usual.disable_after,
            metavar="N",
            help="events in a row given up that switch a webhook off; 0: never (%(default)s)",
        )

    def handle(self, *, host: str, port: int, **given: Any) -> None:
        """Serve, report, and end at the first signal."""
        options = {f.name: given[f.name] for f in fields(Options) if f.name in given}
        try:
            server = EmulatorServer(host, port, report=self._say, **options)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        except OverflowError as error:
            raise CommandError(f"There is no port {port}.") from error
        except OSError as error:
            raise CommandError(_why_not(host, port, error)) from error
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        with server:
            self._introduce(server.url, given["api_key"] or KEY)
            ended.wait()

    def _introduce(self, url: str, key: str) -> None:
        self._say(f"The Gemini API emulator listens at {url}")
        self._say(f"  export GOOGLE_GEMINI_BASE_URL={url}")
        self._say(f"  export STORAGE_EMULATOR_HOST={url}")
        self._say(f"  export GEMINI_API_KEY={key}")
        self._say(f'  GEMINI_WEBHOOKS["JWKS_URL"] = "{url}/.well-known/jwks.json"')

    def _say(self, line: str) -> None:
        # In one piece, as lines come from several threads; at once, for whoever reads a pipe.
        # Whoever read the pipe may have gone; the deliveries go on.
        with contextlib.suppress(BrokenPipeError):
            self.stdout.write(f"{line}\n", ending="")
            self.stdout.flush()


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken: stop what uses it, or choose another with --port (0: any)."
    return f"Cannot listen at {host}:{port}: {error.strerror or error}."
