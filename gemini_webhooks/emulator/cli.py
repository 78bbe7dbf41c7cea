"""The command line of the emulator: in a site, beside ``runserver``, and on its own."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import signal
import threading
from argparse import Action, ArgumentParser, Namespace, _ArgumentGroup
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Protocol, get_type_hints

from gemini_webhooks.emulator.options import Options
from gemini_webhooks.emulator.scenarios import load
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.exceptions import ConfigurationError

KEY = "emulator"
HOST = "127.0.0.1"
PORT = 8090
#: Where the parser keeps which arguments it was given.
CHOSEN = "emulator_arguments"

Say = Callable[[str], None]


class Stream(Protocol):
    """Standard output, or a management command's."""

    def write(self, text: str, /) -> object:
        """Write a text."""

    def flush(self) -> object:
        """Hand on what was written."""


class CannotServe(Exception):
    """The emulator cannot start; the message says what to do."""


def add_arguments(parser: ArgumentParser | _ArgumentGroup, *, prefix: str = "") -> None:
    """Declare where to listen, and one argument for each of :class:`Options`.

    Args:
        parser: gets the arguments.
        prefix: stands before each name, as in ``--emulator-port`` for ``"emulator-"``.
    """
    parser.set_defaults(**{CHOSEN: ()})
    where: dict[str, Any] = {"action": _Chosen}
    parser.add_argument(
        f"--{prefix}host", default=HOST, help="address to listen on (%(default)s)", **where
    )
    parser.add_argument(
        f"--{prefix}port", type=int, default=PORT, help="0 takes a free one (%(default)s)", **where
    )
    types = get_type_hints(Options)
    for option in _arguments():
        _add(parser, option, types[option.name], prefix)


def add_json(parser: ArgumentParser) -> None:
    """Declare ``--json``, for a command that does nothing besides."""
    parser.add_argument(
        "--json", action="store_true", help="report in JSON, an object a line, for programs"
    )


def serve(given: Mapping[str, Any], say: Say) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        given: what the parser made of the arguments, also of :func:`add_json`.
        say: called with each line of the report, from any thread.

    Raises:
        CannotServe: an option makes no sense, or the port cannot be had.
    """
    report = _in_json(say) if given["json"] else say
    server = prepare(given, report)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with server:
        if given["json"]:
            say(json.dumps(_introduction(server)))
        else:
            introduce(server, say)
        ended.wait()


def prepare(given: Mapping[str, Any], say: Say, *, prefix: str = "") -> EmulatorServer:
    """The server that the arguments ask for, about to start.

    Args:
        given: what the parser made of the arguments.
        say: called with each line of the report, from any thread.
        prefix: as it was for :func:`add_arguments`.

    Raises:
        CannotServe: an option makes no sense, or the port cannot be had.
    """
    host, port = (given[_dest(prefix, name)] for name in ("host", "port"))
    try:
        return EmulatorServer(host, port, report=say, **_options(given, say, prefix))
    except ConfigurationError as error:
        raise CannotServe(str(error)) from error
    except OverflowError as error:
        raise CannotServe(f"There is no port {port}.") from error
    except OSError as error:
        raise CannotServe(_why_not(host, port, error, prefix)) from error


def environment(server: EmulatorServer) -> dict[str, str]:
    """The variables that lead a site and the official clients to the emulator."""
    return {
        "GOOGLE_GEMINI_BASE_URL": server.url,
        "STORAGE_EMULATOR_HOST": server.url,
        "GEMINI_API_KEY": server.emulator.options.api_key or KEY,
    }


def introduce(server: EmulatorServer, say: Say) -> None:
    """Say where it listens, and what a shell and a site have to be told."""
    introduction = _introduction(server)
    say(f"The Gemini API emulator listens at {server.url} (its page is there as well)")
    for name, value in introduction["environment"].items():
        say(f"  export {name}={value}")
    say(f'  GEMINI_WEBHOOKS["JWKS_URL"] = "{introduction["jwks_url"]}"')


def _introduction(server: EmulatorServer) -> dict[str, Any]:
    return {
        "url": server.url,
        "jwks_url": f"{server.url}/.well-known/jwks.json",
        "environment": environment(server),
    }


def _in_json(say: Say) -> Say:
    return lambda line: say(json.dumps({"message": line}))


def writing_to(stream: Stream) -> Say:
    """Lines go to ``stream`` in one piece each, as they come from several threads, and at once."""

    def say(line: str) -> None:
        # Whoever read the pipe may have gone, or the disk is full; the deliveries go on.
        with contextlib.suppress(OSError, ValueError):
            stream.write(f"{line}\n")
            stream.flush()

    return say


class _Chosen(Action):
    """Stores a value, and that it was chosen: what is not may come from elsewhere."""

    def __call__(self, _parser: object, namespace: Namespace, values: Any, *_option: Any) -> None:
        setattr(namespace, self.dest, True if self.nargs == 0 else values)
        setattr(namespace, CHOSEN, (*getattr(namespace, CHOSEN, ()), self.dest))


def _arguments() -> Iterator[Field[Any]]:
    return (option for option in fields(Options) if "help" in option.metadata)


def _add(
    parser: ArgumentParser | _ArgumentGroup, option: Field[Any], annotation: Any, prefix: str
) -> None:
    described = option.metadata
    default = option.default
    if default is MISSING:
        raise TypeError(f"{option.name} has no default")
    name = f"--{prefix}{option.name.replace('_', '-')}"
    shown = described.get("unset", default)
    more: dict[str, Any] = {
        "action": _Chosen,
        "default": default,
        "help": f"{described['help']} ({shown})".replace("%", "%%"),
    }
    if annotation is bool:
        parser.add_argument(name, nargs=0, **more)
        return
    parser.add_argument(
        name,
        type=described.get("type", str if default is None else type(default)),
        choices=described.get("choices"),
        metavar=described.get("metavar"),
        **more,
    )


def _dest(prefix: str, name: str) -> str:
    return f"{prefix}{name}".replace("-", "_")


def _options(given: Mapping[str, Any], say: Say, prefix: str) -> dict[str, Any]:
    """The options that were chosen; those of a scenario file stand in for the others."""
    chosen = {
        option.name: given[dest]
        for option in _arguments()
        if (dest := _dest(prefix, option.name)) in given.get(CHOSEN, ())
        or given[dest] != option.default
    }
    options = dict(chosen)
    if "scenario" in chosen:
        scenario = load(chosen["scenario"])
        options = {**scenario.options, **chosen, "scenario": scenario}
    if "output" not in options and importlib.util.find_spec("google_crc32c") is None:
        say(
            "Answers of batches stay in the batch (--output inline): output to Cloud Storage "
            "needs django-gemini-webhooks[emulator]."
        )
        options["output"] = "inline"
    return options


def _why_not(host: str, port: int, error: OSError, prefix: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is taken: stop what uses it, or choose another with --{prefix}port "
            "(0: any)."
        )
    return f"Cannot listen at {host}:{port}: {error.strerror or error}."
