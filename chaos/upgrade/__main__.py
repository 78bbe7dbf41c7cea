"""``python -m chaos.upgrade``."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

from chaos import servers, terminal
from chaos.upgrade.bare import measure
from chaos.upgrade.course import run
from chaos.upgrade.options import UpgradeOptions


def main() -> int:
    """Run, print, and say by the exit code how it went: 0 held, 1 broken, 2 not run."""
    options = _options()
    if options.bare:
        return terminal.tell(lambda say: measure(options, say), options.json)
    if reason := servers.missing(broker="amqp"):
        return terminal.complain(reason)
    return terminal.tell(lambda say: run(options, say), options.json)


def _options() -> UpgradeOptions:
    usual = UpgradeOptions(old="")
    parser = argparse.ArgumentParser(
        prog="python -m chaos.upgrade",
        description="Upgrade the app, one process after the other, while events come in; count.",
        epilog="Exit code 0: every promise held, and no request waited for more than 2 s while the"
        " database was migrated. 1: not so. 2: it could not be tried.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--from", dest="old", required=True, metavar="REV", help="git revision to upgrade from")
    add("--to", dest="new", metavar="REV", help="git revision to upgrade to (the working tree)")
    add("--rows", type=int, default=usual.rows, help="deliveries that are there before")
    add("--events", type=int, default=usual.events, help="events to deliver meanwhile")
    add("--seconds", type=float, default=usual.seconds, help="how long the events come in")
    add("--seed", type=int, help="of the events (random)")
    add("--patience", type=float, default=usual.patience, help="seconds without progress: stuck")
    add(
        "--bare",
        choices=["postgres", "mariadb"],
        help="no site: only how long INSERTs wait while this database is migrated",
    )
    add("--json", type=Path, metavar="FILE", help="write the report there as well")
    add("--keep", action="store_true", help="leave logs and databases where they are")
    given: dict[str, Any] = vars(parser.parse_args())
    if given["seed"] is None:
        given["seed"] = random.SystemRandom().randrange(10_000)
    return UpgradeOptions(**given)


if __name__ == "__main__":
    sys.exit(main())
