"""Tables as ``docs/scaling.md`` has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.simulation.capacity import Fleet, Machine, fleets, machine
from benchmarks.simulation.costs import Costs
from benchmarks.simulation.validation import Compared

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
CORES = (2, 16, 64)
RATES = (1_000, 10_000, 100_000, 1_000_000)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def rounded(value: float) -> str:
    """To two digits that count, with thousands apart."""
    if value >= 100:
        digits = len(str(int(value))) - 2
        return f"{round(value, -digits):,.0f}"
    return f"{value:.2g}"


def tables(costs: Costs) -> dict[str, str]:
    """All, by the name that the page has for each."""
    return {
        "measured": f"Measured on {costs.measured_on}.\n",
        "request": request_table(costs),
        "event": event_table(costs),
        "bytes": bytes_table(costs),
        "machines": machine_table([machine(costs, cores) for cores in CORES]),
        "fleets": fleet_table(fleets(costs, RATES)),
    }


def request_table(costs: Costs) -> str:
    """CPU of a request."""
    head = ("request", "web", "database", "generator")
    names = {"ours": "this app", "V": "bare view, one INSERT", "N": "the same, and a task for each"}
    return table(
        head,
        (
            (names[name], f"{one.web:.0f} µs", f"{one.database:.0f} µs", f"{one.generator:.0f} µs")
            for name, one in costs.requests.items()
        ),
    )


def event_table(costs: Costs) -> str:
    """CPU and statements of handling."""
    head = (
        "work", "worker", "database", "round trips", "waits for the disk",
        "worker, each message", "database, each message",
    )  # fmt: skip
    return table(
        head,
        (
            (
                name,
                f"{work.child:.0f} µs",
                f"{work.database:.0f} µs",
                f"{work.round_trips:.0f}",
                f"{work.commits:.0f}",
                f"{work.message_child + work.main:.0f} µs",
                f"{work.message_database:.0f} µs",
            )
            for name, work in costs.work.items()
        ),
    )


def bytes_table(costs: Costs) -> str:
    """Bytes and waiting times."""
    sizes, servers = costs.sizes, costs.servers
    rows = (
        ("write-ahead log, received", f"{rounded(sizes.wal_received)} bytes"),
        ("write-ahead log, handled by one receiver", f"{rounded(sizes.wal_handled)} bytes"),
        ("row of a delivery, with indexes", f"{rounded(sizes.delivery)} bytes"),
        ("row of a run, with indexes", f"{rounded(sizes.run)} bytes"),
        ("row of an attempt, with indexes", f"{rounded(sizes.attempt)} bytes"),
        ("message for fifty deliveries", f"{rounded(sizes.message)} bytes"),
        ("CPU of the broker for a message, in and out",
         f"{servers.publish + servers.deliver:.0f} µs"),
        ("CPU of a web process to send one", f"{servers.send:.0f} µs"),
        ("a commit waits for the disk", f"{servers.flush:.0f} µs"),
    )  # fmt: skip
    return table(("of one event", ""), rows)


def machine_table(machines: Iterable[Machine]) -> str:
    """What one machine takes."""
    head = (
        "cores", "receives", "receives and handles", "with five receivers", "limit",
        "CPU: web, workers, database, broker", "answer, p95", "until handled, p95",
    )  # fmt: skip
    parts = ("web", "worker", "database", "broker")
    return table(
        head,
        (
            (
                str(one.cores),
                f"{rounded(one.received)}/s",
                f"{rounded(one.handled)}/s",
                f"{rounded(one.handled_by_five)}/s",
                one.limit,
                ", ".join(f"{one.shares.get(part, 0) * 100:.0f} %" for part in parts),
                f"{rounded(one.answered_p95)} ms",
                f"{rounded(one.handled_p95)} ms",
            )
            for one in machines
        ),
    )


def fleet_table(needed: Iterable[Fleet]) -> str:
    """What a rate needs."""
    head = (
        "events", "web", "workers", "databases", "their limit", "messages", "queues", "log",
        "tables a day", "rows a day",
    )  # fmt: skip
    return table(
        head,
        (
            (
                f"{one.rate:,}/s",
                f"{one.web:,}",
                f"{one.workers:,}",
                f"{one.databases:,}",
                one.limit,
                f"{rounded(one.messages)}/s",
                f"{one.queues:,}",
                f"{rounded(one.wal)} MB/s",
                f"{rounded(one.per_day / 1000)} TB",
                f"{rounded(one.rows_per_day / 1000)} billion",
            )
            for one in needed
        ),
    )


def comparison_table(compared: Iterable[Compared]) -> str:
    """What was measured, and what the simulation says of the same."""
    return table(
        ("run", "measured", "simulated", "deviation", "cores busy with other things"),
        (
            (
                one.name,
                f"{one.measured:.0f}/s",
                f"{one.simulated:.0f}/s",
                f"{one.deviation * 100:+.0f} %",
                f"{one.others:.1f}",
            )
            for one in compared
        ),
    )


def inserted(page: str, found: dict[str, str]) -> str:
    """The page with each table between its marks."""
    for name, text in found.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page
