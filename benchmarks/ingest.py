"""What receiving costs, beside what people would write themselves.

    python -m benchmarks.ingest [views|duplicates|forged|dynamic|endpoints|rows|tail]

Serves one site (gunicorn, 2 workers of 4 threads) and sends pre-signed requests with wrk over 16
connections, to each thing that is compared in turn, several rounds. Makes databases of its own on
that server, and removes them.

    views       ours, and the baselines: V verifies by hand and inserts, N publishes a task as well
    duplicates  events that are stored already, and new ones
    forged      signatures that do not hold: ours, and V's refusal
    dynamic     a token each, with the key cached, and static webhooks
    endpoints   1, 10 and 1,000 registered endpoints, each with a secret of its own
    rows        many deliveries in the table already, and none
    tail        latency at half of the rate that each view reaches, by a clock that does not wait
"""

from __future__ import annotations

from benchmarks import comparing, variants
from benchmarks.harness import facts
from benchmarks.serving import SERVERS


def main() -> None:
    """Serve, load, print."""
    parser = comparing.options(__doc__)
    parser.add_argument("what", nargs="?", default="views", choices=variants.VARIANTS)
    parser.add_argument("--server", default="gunicorn", choices=SERVERS, help="(%(default)s)")
    parser.add_argument(
        "--view", action="append", choices=sorted(variants.VIEWS), help="only these (may repeat)"
    )
    parser.add_argument("--endpoints", type=int, nargs="+", default=[1, 10, 1000], metavar="NUMBER")
    parser.add_argument("--rows", type=int, default=10_000_000, help="(%(default)s)")
    options = parser.parse_args()
    with variants.VARIANTS[options.what](options) as comparison:
        comparing.say(f"{options.what}, {options.server}: {facts(comparison.url, options.server)}")
        runs = comparing.in_turn(comparison.measures, options.rounds)
        figures = comparing.report(runs, comparison.pairs)
        if said := comparison.after():
            comparing.say(said)
    if options.json:
        comparing.printed_as_json(figures)


if __name__ == "__main__":
    main()
