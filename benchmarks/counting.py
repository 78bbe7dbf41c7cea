"""What a request and the handling of an event cost, counted instead of timed.

    python -m benchmarks.counting --database sqlite://

SQL statements, and calls of functions, Python's and C's, in the thread that answers. They are the
same on every machine and however busy it is, so tests hold them against budgets; as versions of
Python and Django differ in them, those are shares of what the baseline V needs. ``kept`` is how
many blocks of memory each request leaves behind, which is what grows without end.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.harness import asked, database

#: What is put together once in a process is not counted; nor are the few requests that are
#: refused and recorded before a flood of them is only counted.
WARM_UP, TIMES, MANY = 70, 5, 300
CODE = "from benchmarks import counting; counting.in_the_site()"

Work = Callable[[], object]


def main() -> None:
    """Make a database, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", default="sqlite://", metavar="URL", help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON alone")
    options = parser.parse_args()
    with database(options.database) as url:
        said = asked(CODE, url)
    if options.json:
        sys.stdout.write(f"{said}\n")
        return
    for name, counted in json.loads(said).items():
        kept = f", {counted['kept']} blocks kept" if "kept" in counted else ""
        sys.stdout.write(f"{name}: {counted['calls']} calls{kept}\n")
        for statement in counted["statements"]:
            sys.stdout.write(f"    {statement[:110]}\n")


def in_the_site() -> None:
    """Count, in a process of the site; prints JSON."""
    from benchmarks.countable import works  # noqa: PLC0415  # Django is set up

    logging.getLogger("gemini_webhooks").setLevel(logging.ERROR)
    counted: dict[str, dict[str, Any]] = {}
    for name, new_work in works():
        for _ in range(WARM_UP):
            new_work()()
        counted[name] = {
            "statements": min((statements_of(new_work()) for _ in range(TIMES)), key=len),
            "calls": min(calls_of(new_work()) for _ in range(TIMES)),
        }
        if name.endswith("new"):
            counted[name]["kept"] = kept_by(new_work)
    sys.stdout.write(json.dumps(counted))


def statements_of(work: Work) -> list[str]:
    """What it has the database execute."""
    from django.db import connection  # noqa: PLC0415  # Django is set up

    found: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        found.append(" ".join(sql.split()))
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        work()
    return found


def calls_of(work: Work) -> int:
    """How many functions it calls."""
    number = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return number


def kept_by(new_work: Callable[[], Work]) -> float:
    """How many blocks of memory are allocated once more after each time."""
    many = [new_work() for _ in range(MANY)]
    before = _allocated()
    for work in many:
        work()
    return round((_allocated() - before) / MANY, 1)


def _allocated() -> int:
    from benchmarks.site.celery import app  # noqa: PLC0415  # Django is set up
    from gemini_webhooks import dispatch  # noqa: PLC0415  # likewise

    dispatch.flush()
    with app.connection_for_write() as broker:  # in memory
        channel: Any = broker.default_channel
        channel.queue_purge(app.conf.task_default_queue)
    gc.collect()
    return sys.getallocatedblocks()


if __name__ == "__main__":
    main()
