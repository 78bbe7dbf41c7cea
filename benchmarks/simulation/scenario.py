"""What is simulated, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.simulation.costs import Request, Rules, Servers, Work


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What runs, and what is asked of it.

    Attributes:
        servers: what the servers take.
        rules: that the app goes by.
        cores: of the machine that everything shares.
        request: what a request costs; ``None`` if nothing is received.
        work: what handling costs; ``None`` if no worker runs.
        processes: web processes, each with so many ``threads``.
        workers: main processes of workers, each with so many ``children``.
        connections: so many requests are on their way at any time, unless there is a ``rate``.
        has_learned: the workers know already how quick the receivers are.
        until_handled: a connection waits for the workers before its next request.
        rate: of arrivals that know nothing of each other, per second.
        waiting: deliveries whose messages are there from the beginning.
        generator_here: whether what sends the requests shares the cores.
        warm_up: seconds that do not count.
        seconds: that count.
        slowdown: of everything that computes, by what others do on the machine.
        shape: of the times, see :class:`~benchmarks.simulation.machine.Chance`.
    """

    servers: Servers
    rules: Rules
    cores: int = 2
    request: Request | None = None
    work: Work | None = None
    processes: int = 2
    threads: int = 4
    workers: int = 1
    children: int = 2
    has_learned: bool = True
    connections: int = 16
    until_handled: bool = False
    rate: float | None = None
    waiting: int = 0
    generator_here: bool = True
    warm_up: float = 0.5
    seconds: float = 2.0
    slowdown: float = 1.0
    seed: int = 7
    shape: float | None = 4.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came out.

    Attributes:
        answered: requests per second.
        handled: deliveries per second.
        answer_times: seconds from sending a request to its answer, sorted.
        handled_times: seconds from sending a request to the end of its handling, sorted.
        busy: which share of the time each thing that may be the limit was busy.
        cpu: seconds of CPU in a second, by part.
        messages: that the broker took for each request that was answered.
    """

    answered: float
    handled: float
    answer_times: Sequence[float]
    handled_times: Sequence[float]
    busy: Mapping[str, float]
    cpu: Mapping[str, float]
    messages: float

    @property
    def limit(self) -> str:
        """What was busiest."""
        return max(self.busy, key=lambda name: self.busy[name])


def percentile(times: Sequence[float], percent: float) -> float:
    """Of sorted times; 0 if there are none."""
    return times[min(len(times) - 1, int(len(times) * percent / 100))] if times else 0.0
