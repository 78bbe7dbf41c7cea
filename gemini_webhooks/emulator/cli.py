"""The command line of the emulator, in a site and on its own."""

from __future__ import annotations

import errno
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from gemini_webhooks.emulator.options import Options
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.exceptions import ConfigurationError

KEY = "emulator"
HOST = "127.0.0.1"
PORT = 8090

Say = Callable[[str], None]


class CannotServe(Exception):
    """The emulator cannot start; the message says what to do."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare where to listen, and one argument for each of :class:`Options`."""
    parser.add_argument("--host", default=HOST, help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="0 takes a free one (%(default)s)")
    types = get_type_hints(Options)
    for option in _arguments():
        _add(parser, option, types[option.name])


def serve(given: Mapping[str, Any], say: Say) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        given: what the parser made of the arguments.
        say: called with each line of the report, from any thread.

    Raises:
        CannotServe: an option makes no sense, or the port cannot be had.
    """
    server = _server(given, say)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with server:
        introduce(server.url, given["api_key"] or KEY, say)
        ended.wait()


def introduce(url: str, key: str, say: Say) -> None:
    """Say what a site has to be told."""
    say(f"The Gemini API emulator listens at {url}")
    say(f"  export GOOGLE_GEMINI_BASE_URL={url}")
    say(f"  export STORAGE_EMULATOR_HOST={url}")
    say(f"  export GEMINI_API_KEY={key}")
    say(f'  GEMINI_WEBHOOKS["JWKS_URL"] = "{url}/.well-known/jwks.json"')


def _arguments() -> Iterator[Field[Any]]:
    return (option for option in fields(Options) if "help" in option.metadata)


def _add(parser: ArgumentParser, option: Field[Any], annotation: Any) -> None:
    described = option.metadata
    default = option.default
    if default is MISSING:
        raise TypeError(f"{option.name} has no default")
    name = f"--{option.name.replace('_', '-')}"
    shown = described.get("unset", default)
    help_text = f"{described['help']} ({shown})".replace("%", "%%")
    if annotation is bool:
        parser.add_argument(name, action="store_true", help=help_text)
        return
    parser.add_argument(
        name,
        type=described.get("type", str if default is None else type(default)),
        default=default,
        choices=described.get("choices"),
        metavar=described.get("metavar"),
        help=help_text,
    )


def _server(given: Mapping[str, Any], say: Say) -> EmulatorServer:
    host, port = given["host"], given["port"]
    options = {option.name: given[option.name] for option in _arguments()}
    try:
        return EmulatorServer(host, port, report=say, **options)
    except ConfigurationError as error:
        raise CannotServe(str(error)) from error
    except OverflowError as error:
        raise CannotServe(f"There is no port {port}.") from error
    except OSError as error:
        raise CannotServe(_why_not(host, port, error)) from error


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken: stop what uses it, or choose another with --port (0: any)."
    return f"Cannot listen at {host}:{port}: {error.strerror or error}."
