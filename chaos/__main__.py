"""``python -m chaos``."""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from chaos import servers, terminal
from chaos.experiment import run
from chaos.faults import KINDS
from chaos.options import Options

ONLY = f"this kind of fault; may be repeated: {', '.join(KINDS)}"


def main() -> int:
    """Run, print, and say by the exit code how it went: 0 held, 1 broken, 2 not run."""
    options = _options()
    if reason := servers.missing(broker=options.broker):
        return terminal.complain(reason)
    return terminal.tell(lambda say: run(options, say), options.json)


def _options() -> Options:
    usual = Options()
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Send events while everything the app runs on is broken; count what is there.",
        epilog="Exit code 0: every promise held. 1: one was broken. 2: it could not be tried.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--events", type=int, default=usual.events, help="events to deliver")
    add("--seconds", type=float, default=usual.seconds, help="how long faults are injected")
    add("--seed", type=int, help="of faults and events (random)")
    add("--broker", choices=["amqp", "redis"], default=usual.broker, help="RabbitMQ or Redis")
    add("--scale", type=float, default=usual.scale, help="factor on leases and other times")
    add("--pause", type=float, default=usual.pause, help="seconds between faults, on average")
    add("--only", action="append", default=[], choices=KINDS, metavar="FAULT", help=ONLY)
    add("--patience", type=float, default=usual.patience, help="seconds without progress: stuck")
    add("--json", type=Path, metavar="FILE", help="write the report there as well")
    add("--sabotage", action="store_true", help="break the app itself: this has to fail")
    add("--keep", action="store_true", help="leave logs and databases where they are")
    given: dict[str, Any] = vars(parser.parse_args())
    if given["seed"] is None:
        given["seed"] = random.SystemRandom().randrange(10_000)
    given["only"] = tuple(given["only"])
    return Options(**{field.name: given[field.name] for field in fields(Options)})


if __name__ == "__main__":
    sys.exit(main())
