"""The database and the broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import simpy

from benchmarks.simulation.costs import Servers
from benchmarks.simulation.machine import Chance, Cores, Steps


class Database:
    """Executes statements; commits that come while the disk is busy go to it together."""

    def __init__(
        self, env: simpy.Environment, cores: Cores, costs: Servers, chance: Chance
    ) -> None:
        self._env = env
        self._cores = cores
        self._costs = costs
        self._chance = chance
        self._flushing: simpy.Event | None = None
        self._written = 0
        self._safe = 0

    def execute(self, micros: float, *, commits: bool) -> Steps:
        """One round trip of a statement that costs so much CPU."""
        yield self._env.timeout(self._costs.hop * 1e-6)
        yield from self._cores.run("database", micros)
        if commits:
            yield from self._commit()

    def _commit(self) -> Steps:
        self._written += 1
        mine = self._written
        while self._safe < mine:
            if self._flushing is not None:
                yield self._flushing
                continue
            covers, self._flushing = self._written, self._env.event()
            yield self._env.timeout(self._chance.around(self._costs.flush * 1e-6))
            self._safe = covers
            done, self._flushing = self._flushing, None
            done.succeed()


@dataclass(kw_only=True)
class Delivery:
    """What was received.

    Attributes:
        handled: tells of its end.
        left: runs that are still to come.
    """

    handled: simpy.Event
    left: int = 0


@dataclass(frozen=True, kw_only=True)
class Message:
    """For some deliveries that were received, or for one run of one of them.

    Attributes:
        receiver: its number, if it is for a run.
    """

    deliveries: Sequence[Delivery]
    receiver: int | None = None


class Broker:
    """Takes messages and keeps them until a worker asks."""

    def __init__(self, env: simpy.Environment, cores: Cores, costs: Servers) -> None:
        self._env = env
        self._cores = cores
        self._costs = costs
        self.queue: simpy.Store = simpy.Store(env)
        self.messages = 0

    def publish(self, message: Message, micros: float | None = None) -> None:
        """Take it; nobody waits for that.

        Args:
            message: what is taken.
            micros: CPU that it costs, if it is not one of many.
        """
        self.messages += 1
        cost = self._costs.publish if micros is None else micros
        self._env.process(self._take(message, cost))

    def _take(self, message: Message, micros: float) -> Steps:
        yield from self._cores.run("broker", micros)
        yield self.queue.put(message)

    def deliver(self) -> None:
        """Give one to a worker, and take the acknowledgement."""
        self._env.process(self._cores.run("broker", self._costs.deliver))
