"""Compares the simulation with real runs that its costs were not measured in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.costs import receiving as receiving_costs
from benchmarks.costs.site import Site
from benchmarks.simulation import runs
from benchmarks.simulation.costs import Costs
from benchmarks.simulation.runs import Run
from benchmarks.simulation.scenario import Scenario
from benchmarks.simulation.site import simulate, work_off

#: A simulation that is further off is not to be believed.
TOLERANCE = 0.2
#: Cores that others may be busy with; with more, the comparison says little.
MOST_OTHERS = 0.2
#: How often each run is measured: they differ by a tenth or two.
TIMES = 3


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run; rates per second."""

    name: str
    measured: float
    simulated: float
    others: float

    @property
    def deviation(self) -> float:
        """Of the simulation, as a share of what was measured."""
        return self.simulated / self.measured - 1

    @property
    def holds(self) -> bool:
        """Whether it is within what is tolerated."""
        return abs(self.deviation) <= TOLERANCE


def compare(site: Site, costs: Costs, *, seconds: float, number: int) -> Iterator[Compared]:
    """Every view, and every kind of work."""
    for name in costs.requests:
        run = _usual(partial(runs.receive, site, name, seconds=seconds))
        yield _compared(f"receiving, {name}", run, receiving(costs, name, run))
    for name in costs.work:
        run = _usual(partial(runs.handle, site, name, number=number))
        yield _compared(f"handling, {name}", run, handling(costs, name, number, run))


def _usual(measure: Callable[[], Run]) -> Run:
    """The median of a few runs."""
    found = sorted((measure() for _ in range(TIMES)), key=lambda run: run.rate)
    return found[TIMES // 2]


def _compared(name: str, run: Run, simulated: float) -> Compared:
    return Compared(name=name, measured=run.rate, simulated=simulated, others=run.others)


def receiving(costs: Costs, name: str, run: Run) -> float:
    """What the simulation says of a run of receiving."""
    scenario = Scenario(
        servers=costs.servers,
        rules=costs.rules,
        cores=os.cpu_count() or 1,
        request=costs.requests[name],
        processes=receiving_costs.PROCESSES,
        threads=receiving_costs.THREADS,
        connections=receiving_costs.CONNECTIONS,
        slowdown=runs.slowdown(run),
    )
    return simulate(scenario).answered


def handling(costs: Costs, name: str, number: int, run: Run) -> float:
    """What the simulation says of a run of handling."""
    scenario = Scenario(
        servers=costs.servers,
        rules=costs.rules,
        cores=os.cpu_count() or 1,
        work=costs.work[name],
        children=runs.CHILDREN,
        waiting=number,
        has_learned=False,
        slowdown=runs.slowdown(run),
    )
    return work_off(scenario)
