"""Compares the simulation with real runs, or goes beyond them."""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks import simulation
from benchmarks.costs.site import Site
from benchmarks.harness import database
from benchmarks.simulation import costs, tables, validation
from benchmarks.traffic import new_secret

say = sys.stdout.write


def main() -> None:
    """Do one of them."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.simulation",
        description=simulation.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(required=True)
    validate_parser = subparsers.add_parser("validate", help="measure and simulate the same runs")
    validate_parser.set_defaults(run=validate)
    validate_parser.add_argument(
        "--database", default="postgres://postgres@127.0.0.1:5432/postgres", metavar="URL"
    )
    validate_parser.add_argument(
        "--broker", default="amqp://guest:guest@127.0.0.1:5672//", metavar="URL"
    )
    validate_parser.add_argument("--seconds", type=float, default=5, help="for each view")
    validate_parser.add_argument("--number", type=int, default=1500, help="of deliveries")
    extrapolate_parser = subparsers.add_parser("extrapolate", help="print what larger sites take")
    extrapolate_parser.set_defaults(run=extrapolate)
    extrapolate_parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/scaling.md"
    )
    options = parser.parse_args()
    options.run(options)


def validate(options: argparse.Namespace) -> None:
    """Exit code 1 if the simulation is further off than it may be."""
    with database(options.database) as url:
        site = Site(
            url=url, broker=options.broker, queue=f"validation-{os.getpid()}", secret=new_secret()
        )
        site.purge()
        try:
            compared = list(
                validation.compare(
                    site, costs.load(), seconds=options.seconds, number=options.number
                )
            )
        finally:
            site.close()
    say(tables.comparison_table(compared))
    if max(one.others for one in compared) > validation.MOST_OTHERS:
        say("Other things kept the machine busy: this says little.\n")
    if not all(one.holds for one in compared):
        raise SystemExit(1)


def extrapolate(options: argparse.Namespace) -> None:
    """Print the tables, or put them into the page."""
    found = tables.tables(costs.load())
    if options.write:
        tables.PAGE.write_text(tables.inserted(tables.PAGE.read_text(), found))
        return
    say("\n".join(found.values()))


if __name__ == "__main__":
    main()
