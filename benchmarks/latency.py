"""How long after a request its receiver runs, beside a task that the view itself sends.

    python -m benchmarks.latency --rates 50 200

Serves one site with gunicorn (2 workers of 4 threads) and one Celery worker (prefork, 2) on
RabbitMQ, and sends events at a steady rate, in turn to us and to N, the view that calls
``delay()``. The receiver and N's task note how long it is since their request came in; that is
earlier than when it was verified. Makes a database of its own on that server, and removes it.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import comparing, traffic
from benchmarks.comparing import say
from benchmarks.harness import asked, count, database, environment, facts
from benchmarks.paced import paced, percentile
from benchmarks.serving import Served, served
from benchmarks.working import working

#: By name of what is compared: path, and type of the rows that its code writes.
SIDES = {"ours": ("/ours/", "ours"), "N": ("/n-timed/", "N")}
SHARES = (0.5, 0.95, 0.99)
#: How long what was sent may take to be handled, in seconds.
PATIENCE = 120
#: A receiver that we connect, and none of N's.
EVENT_TYPE = "video.generated"

READ = """
import json
from django.db import connection
cursor = connection.cursor()
cursor.execute("SELECT body FROM bench_event WHERE event_type = %s", [{kind!r}])
print(json.dumps([float(bytes(body)) for body, in cursor]))
cursor.execute("DELETE FROM bench_event")
"""


def main() -> None:
    """Serve, send, print."""
    parser = comparing.options(__doc__)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[50.0, 200.0], metavar="PER_SECOND"
    )
    options = parser.parse_args()
    queue = f"benchmarks-{os.getpid()}"
    secret = traffic.new_secret()
    found: dict[str, list[list[float]]] = {}
    with (
        database(options.database) as url,
        served(url, options.broker, secret, BENCH_QUEUE=queue) as site,
        working(environment(url, options.broker, secret, BENCH_QUEUE=queue)),
    ):
        say(f"latency: {facts(url, 'gunicorn')}")
        for number in range(options.rounds + 1):
            for rate in options.rates:
                for side in SIDES:
                    seconds = sorted(_round(site, url, secret, side, rate, options.seconds))
                    if number:  # the first round warms up
                        found.setdefault(f"{rate:g}/s {side}", []).append(seconds)
    figures = {name: _percentiles(rounds) for name, rounds in found.items()}
    for name, row in figures.items():
        say(f"{name:12} " + "  ".join(f"{word} {value:7.1f} ms" for word, value in row.items()))
    if options.json:
        comparing.printed_as_json(figures)


def _round(
    site: Served, url: str, secret: str, side: str, rate: float, seconds: float
) -> list[float]:
    path, kind = SIDES[side]
    number = int(rate * seconds)
    lines = traffic.signed(secret, traffic.new_ids(number), event_type=EVENT_TYPE)
    sent = paced(site, path, lines, rate=rate, seconds=seconds)
    if sent.refused:
        raise SystemExit(f"{path} refused {sent.refused} of {sent.requests}")
    expected = number if side == "ours" else 2 * number  # N's view writes one as well
    deadline = time.monotonic() + PATIENCE
    while count("bench_event", url) < expected:
        if time.monotonic() > deadline:
            raise SystemExit(f"{path}: not all was handled within {PATIENCE} s")
        time.sleep(0.5)
    waited: list[float] = json.loads(asked(READ.format(kind=kind), url))
    return waited


def _percentiles(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Medians over the rounds, in milliseconds."""
    return {
        f"p{share * 100:.0f}": round(
            statistics.median(percentile(one, share) for one in rounds) * 1000, 1
        )
        for share in SHARES
    }


if __name__ == "__main__":
    main()
