"""The arguments of ``send``."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import get_args

from django.core.management.base import CommandError

from gemini_webhooks.management.subcommands.base import Options, amount, count
from gemini_webhooks.verification.types import Binding

#: No clock is further off.
MAX_AGE_SECONDS = 10 * 366 * 86_400
OF_MADE_UP = {"event_type": "EVENT_TYPE", "changes": "--set", "metadata": "--metadata"}
OF_DYNAMIC = {"token": "--token", "audience": "--audience", "no_seal": "--no-seal"}


def add(parser: ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "event_type", metavar="EVENT_TYPE", nargs="?", help="such as batch.succeeded"
    )
    parser.add_argument("--list", action="store_true", help="only list the documented types")
    _add_content(parser)
    _add_signing(parser)
    _add_sending(parser)


def _add_content(parser: ArgumentParser) -> None:
    content = parser.add_argument_group("what is sent")
    content.add_argument(
        "--set",
        action="append",
        dest="changes",
        metavar="PATH=VALUE",
        help="such as data.id=batch_1; a value that is JSON is taken as such",
    )
    content.add_argument(
        "--metadata", action="append", metavar="KEY=VALUE", help="into user_metadata, likewise"
    )
    content.add_argument("--body", metavar="FILE", help="these bytes instead; - is standard input")
    content.add_argument("--id", metavar="WEBHOOK_ID", help="a new one by default")
    content.add_argument(
        "--age", type=_age, default=0, metavar="SECONDS", help="date it back: a clock that is off"
    )


def _add_signing(parser: ArgumentParser) -> None:
    signing = parser.add_argument_group("how it is signed")
    mode = signing.add_mutually_exclusive_group()
    mode.add_argument("--static", action="store_true", help="with a secret of this site")
    mode.add_argument(
        "--dynamic",
        action="store_true",
        help="with a token, by the emulator at JWKS_URL; "
        "the default where there is an emulator but no secret",
    )
    signing.add_argument("--endpoint", metavar="SLUG", help="this one instead of the root endpoint")
    signing.add_argument(
        "--secret-env", metavar="NAME", help="environment variable that holds the secret"
    )
    signing.add_argument(
        "--token",
        choices=get_args(Binding),
        help="what the token vouches for; by default as the emulator's --token",
    )
    signing.add_argument("--audience", help="aud of the token; what the address accepts by default")
    signing.add_argument("--no-seal", action="store_true", help="leave the metadata unsealed")
    signing.add_argument(
        "--tamper",
        action="store_true",
        help="change a byte after signing; exit code 0 if it is refused",
    )


def _add_sending(parser: ArgumentParser) -> None:
    where = parser.add_argument_group("where to, and what then")
    where.add_argument(
        "--url",
        help="by default the address of the endpoint on PUBLIC_BASE_URL, or without that on "
        "http://127.0.0.1:8000",
    )
    where.add_argument("--yes", action="store_true", help="do not ask before it goes to the public")
    where.add_argument(
        "--duplicate", type=count, metavar="N", help="send it so many times more, as retries are"
    )
    where.add_argument(
        "--follow", action="store_true", help="watch in the database what receivers do"
    )
    where.add_argument(
        "--timeout", type=amount, default=60, help="of --follow, in seconds (%(default)s)"
    )
    where.add_argument("--dry-run", action="store_true", help="show the request and send nothing")


def check(options: Options) -> None:
    """Refuse what does not go together.

    Raises:
        CommandError: the message names it.
    """
    made_up = [option for name, option in OF_MADE_UP.items() if options[name]]
    if made_up and options["body"] is not None:
        raise CommandError(f"--body is the whole event: {made_up[0]} does not go with it.")
    given = [option for name, option in OF_DYNAMIC.items() if options[name]]
    if given and not options["dynamic"]:
        raise CommandError(f"{given[0]} goes with --dynamic: a static event has no token.")
    if options["secret_env"] and options["dynamic"]:
        raise CommandError("--secret-env does not go with --dynamic: a token needs no secret.")


def _age(text: str) -> int:
    """Type of an argument: seconds into the past, or with a minus into the future."""
    try:
        seconds = int(text)
    except ValueError:
        seconds = MAX_AGE_SECONDS + 1
    if abs(seconds) > MAX_AGE_SECONDS:
        raise ArgumentTypeError(f"{text[:40]!r} is no whole number of seconds")
    return seconds
