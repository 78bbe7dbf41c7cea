"""How much a machine takes, and how many machines an event rate needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.simulation.costs import Costs, Work
from benchmarks.simulation.scenario import Outcome, Scenario, percentile
from benchmarks.simulation.site import simulate

#: A worker's main process has so many children here.
CHILDREN = 8
#: For rates, so many events for each core are under way, more than it ever needs.
IN_FLIGHT = 100
#: For latencies, so much of what it could take arrives.
LOAD = 0.7
#: Fleets are planned for this share of their CPU, so that they stand a burst and a machine less.
UTILISATION = 0.5
#: Cores of each machine of a fleet.
CORES = 16
#: Log that one database server writes and sends to a replica: an assumption, 100 MB a second.
WAL_PER_SECOND = 100e6
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What one machine takes with web, workers, database and broker on it; events per second.

    Attributes:
        received: without workers.
        handled: with one receiver.
        handled_by_five: with five receivers.
        limit: what ends it, with one receiver.
        shares: of the CPU, by part, with one receiver.
        answered_p95: in milliseconds, at 70 % of ``handled``.
        handled_p95: from verified to handled, likewise.
    """

    cores: int
    received: float
    handled: float
    handled_by_five: float
    limit: str
    shares: dict[str, float]
    answered_p95: float
    handled_p95: float


def machine(costs: Costs, cores: int) -> Machine:
    """By simulation; the requests come from elsewhere."""
    base = Scenario(
        servers=costs.servers,
        rules=costs.rules,
        cores=cores,
        request=costs.requests["ours"],
        processes=cores,
        connections=8 * cores,
        generator_here=False,
    )
    work = costs.work["one receiver"]
    whole = _saturated(base, work)
    five = _saturated(base, costs.work["five receivers"])
    calm = simulate(_for_a_while(replace(_with(base, work), rate=LOAD * whole.handled)))
    spent = sum(whole.cpu.values())
    return Machine(
        cores=cores,
        received=simulate(_for_a_while(base)).answered,
        handled=whole.handled,
        handled_by_five=five.handled,
        limit=whole.limit,
        shares={part: used / spent for part, used in whole.cpu.items()},
        answered_p95=percentile(calm.answer_times, 95) * 1000,
        handled_p95=percentile(calm.handled_times, 95) * 1000,
    )


def _for_a_while(scenario: Scenario) -> Scenario:
    """Long enough for some hundred events, whatever they cost."""
    request, work = scenario.request, scenario.work
    micros = (request.web + request.database) if request else 0.0
    if work:
        micros += work.child + work.database
    # On one core; so many for each keep the number of events alike on large machines.
    counted = max(30, 400 // scenario.cores)
    return replace(scenario, warm_up=2 * IN_FLIGHT * micros * 1e-6, seconds=counted * micros * 1e-6)


def _with(base: Scenario, work: Work) -> Scenario:
    workers = max(1, base.cores // CHILDREN)
    return replace(base, work=work, workers=workers, children=2 * base.cores // workers)


def _saturated(base: Scenario, work: Work) -> Outcome:
    """As fast as events are handled: each connection waits for that."""
    busy = replace(_with(base, work), connections=IN_FLIGHT * base.cores, until_handled=True)
    return simulate(_for_a_while(busy))


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What a rate of events needs, with one receiver; machines have 16 cores.

    Attributes:
        web: machines, as ``workers``.
        databases: servers, each with endpoints of its own.
        limit: why there are so many databases.
        messages: that the brokers take in a second.
        queues: that these need, as one queue has one core.
        wal: megabytes of write-ahead log in a second.
        per_day: gigabytes of tables and indexes in a day.
        rows_per_day: millions.
    """

    rate: int
    web: int
    workers: int
    databases: int
    limit: str
    messages: float
    queues: int
    wal: float
    per_day: float
    rows_per_day: float


def fleets(costs: Costs, rates: tuple[int, ...]) -> Iterator[Fleet]:
    """By arithmetic, from CPU time and bytes of one event."""
    request, work, servers, sizes = (
        costs.requests["ours"], costs.work["one receiver"], costs.servers, costs.sizes
    )  # fmt: skip
    messages = 1 / packed(costs)
    web = request.web + servers.send * messages
    worker = work.child + (work.message_child + work.main) * messages
    database = request.database + work.database + work.message_database * messages
    broker = servers.publish + servers.deliver
    wal = sizes.wal_received + sizes.wal_handled
    for rate in rates:
        by_cpu, by_wal = _machines(rate * database), rate * wal / WAL_PER_SECOND
        yield Fleet(
            rate=rate,
            web=_machines_up(rate * web),
            workers=_machines_up(rate * worker),
            databases=math.ceil(max(by_cpu, by_wal)),
            limit="CPU" if by_cpu > by_wal else "log",
            messages=rate * messages,
            queues=math.ceil(rate * messages * broker * 1e-6 / UTILISATION),
            wal=rate * wal / 1e6,
            per_day=rate * SECONDS_PER_DAY * (sizes.delivery + sizes.run + sizes.attempt) / 1e9,
            rows_per_day=rate * SECONDS_PER_DAY * 3 / 1e6,
        )


def packed(costs: Costs) -> float:
    """Deliveries in a message, of a web process that is as busy as planned."""
    rules = costs.rules
    gathered = rules.busy_gather * UTILISATION / costs.requests["ours"].web
    return max(1.0, min(rules.pack, gathered))


def _machines(micros_per_second: float) -> float:
    return micros_per_second * 1e-6 / UTILISATION / CORES


def _machines_up(micros_per_second: float) -> int:
    return math.ceil(_machines(micros_per_second))
