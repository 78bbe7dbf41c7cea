"""Cores that parts share, and what they were busy with."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Generator
from typing import Any, TypeAlias

import simpy

from benchmarks.simulation.line import Line

Steps: TypeAlias = Generator[simpy.Event, Any, Any]


class Chance:
    """Draws how long things take.

    Args:
        seed: the same seed gives the same times.
        shape: of the gamma distribution: 1 is exponential; the more, the more alike they are.
            ``None``: all take as long as the mean.
    """

    def __init__(self, seed: int, shape: float | None = 4.0) -> None:
        self._random = random.Random(seed)  # noqa: S311  # no secret
        self._shape = shape

    def around(self, mean: float) -> float:
        """A time with this mean."""
        if self._shape is None or mean <= 0:
            return mean
        return self._random.gammavariate(self._shape, mean / self._shape)

    def until_next(self, rate: float) -> float:
        """The time until the next arrival, if they know nothing of each other."""
        return self._random.expovariate(rate)


class Cores:
    """Some cores; who finds none free waits in line.

    Args:
        slowdown: how much longer everything takes, because others compute as well.
    """

    def __init__(
        self, env: simpy.Environment, number: int, chance: Chance, *, slowdown: float = 1.0
    ) -> None:
        self._env = env
        self._line = Line(env, number)
        self._chance = chance
        self._slowdown = slowdown
        self.number = number
        #: Seconds of CPU by part.
        self.spent: defaultdict[str, float] = defaultdict(float)

    def run(self, part: str, micros: float) -> Steps:
        """Compute for about so many microseconds; returns the seconds that it took."""
        seconds = self._chance.around(micros * 1e-6) * self._slowdown
        if seconds > 0:
            yield from self._line.enter()
            yield self._env.timeout(seconds)
            self._line.leave()
            self.spent[part] += seconds
        return seconds


class Interpreter:
    """One Python process: one of its threads computes at a time."""

    def __init__(self, env: simpy.Environment, cores: Cores, part: str) -> None:
        self._lock = Line(env, 1)
        self._cores = cores
        self._part = part
        #: Seconds of CPU.
        self.spent = 0.0

    def run(self, micros: float) -> Steps:
        """Compute for about so many microseconds, alone in this process."""
        yield from self._lock.enter()
        self.spent += yield from self._cores.run(self._part, micros)
        self._lock.leave()
