"""Puts a scenario together and has it work."""

from __future__ import annotations

from collections.abc import Iterable

import simpy

from benchmarks.simulation.costs import Request, Work
from benchmarks.simulation.machine import Chance, Cores, Interpreter, Steps
from benchmarks.simulation.scenario import Outcome, Scenario
from benchmarks.simulation.servers import Broker, Database, Delivery, Message
from benchmarks.simulation.web import WebProcess
from benchmarks.simulation.workers import Worker


def simulate(scenario: Scenario) -> Outcome:
    """Have it work, and say what came out."""
    site = _Site(scenario)
    site.env.run(until=scenario.warm_up)
    site.start_counting()
    site.env.run(until=scenario.warm_up + scenario.seconds)
    return site.outcome()


def work_off(scenario: Scenario) -> float:
    """Deliveries per second, between a tenth of those that wait and all of them."""
    site = _Site(scenario)
    ends = site.ends
    site.run_until(scenario.waiting // 10)
    first, begun = len(ends), site.env.now
    site.run_until(scenario.waiting)
    return (scenario.waiting - first) / (site.env.now - begun)


class _Site:
    def __init__(self, scenario: Scenario) -> None:
        self.env = env = simpy.Environment()
        self._scenario = scenario
        self._chance = chance = Chance(scenario.seed, scenario.shape)
        slowdown = scenario.slowdown / (1 - scenario.servers.waking)
        self._cores = Cores(env, scenario.cores, chance, slowdown=slowdown)
        self._database = Database(env, self._cores, scenario.servers, chance)
        self._broker = Broker(env, self._cores, scenario.servers)
        self._generator = Interpreter(env, self._cores, "generator")
        request, work = scenario.request, scenario.work
        self._web = [self._process(request) for _ in range(scenario.processes) if request]
        self._workers = [self._worker(work) for _ in range(scenario.workers) if work]
        self._answers: list[float] = []
        #: How long each delivery took that was handled.
        self.ends: list[float] = []
        self._load()

    def _process(self, request: Request) -> WebProcess:
        return WebProcess(
            self.env,
            self._cores,
            threads=self._scenario.threads,
            request=request,
            rules=self._scenario.rules,
            servers=self._scenario.servers,
            database=self._database,
            broker=self._broker,
        )

    def _worker(self, work: Work) -> Worker:
        return Worker(
            self.env,
            self._cores,
            self._scenario,
            work,
            database=self._database,
            broker=self._broker,
        )

    # --- load

    def _load(self) -> None:
        if self._scenario.work:
            # What nothing is to be run of came in a message of its own.
            self._fill(self._scenario.rules.pack if self._scenario.work.runs else 1)
        if not self._web:
            return
        if self._scenario.rate is not None:
            self.env.process(self._arrive(self._scenario.rate))
            return
        for number in range(self._scenario.connections):
            self.env.process(self._repeat(number))

    def _fill(self, pack: int) -> None:
        left = self._scenario.waiting
        while left > 0:
            some = [self._delivery() for _ in range(min(pack, left))]
            self._broker.queue.put(Message(deliveries=some))
            left -= len(some)

    def _delivery(self) -> Delivery:
        delivery = Delivery(handled=self.env.event())
        began = self.env.now

        def note(_: simpy.Event) -> None:
            self.ends.append(self.env.now - began)

        assert delivery.handled.callbacks is not None  # noqa: S101  # it has not happened yet
        delivery.handled.callbacks.append(note)
        return delivery

    def _repeat(self, number: int) -> Steps:
        while True:
            delivery = self._delivery()
            yield from self._send(delivery, number)
            if self._scenario.until_handled:
                yield delivery.handled

    def _arrive(self, rate: float) -> Steps:
        number = 0
        while True:
            yield self.env.timeout(self._chance.until_next(rate))
            self.env.process(self._send(self._delivery(), number))
            number += 1

    def _send(self, delivery: Delivery, number: int) -> Steps:
        request = self._scenario.request
        assert request is not None  # noqa: S101  # else nobody sends
        began = self.env.now
        # Elsewhere there are as many as it takes.
        generator = request.generator if self._scenario.generator_here else 0
        yield from self._generator.run(generator / 2)
        yield self.env.timeout(self._scenario.servers.hop * 1e-6)
        yield from self._web[number % len(self._web)].answer(delivery)
        yield from self._generator.run(generator / 2)
        self._answers.append(self.env.now - began)

    # --- outcome

    def start_counting(self) -> None:
        """Forget what was before."""
        self._answers.clear()
        self.ends.clear()
        self._cores.spent.clear()
        self._broker.messages = 0
        for interpreter in self._interpreters():
            interpreter.spent = 0.0

    def _interpreters(self) -> Iterable[Interpreter]:
        yield self._generator
        yield from (process.interpreter for process in self._web)
        yield from (worker.main for worker in self._workers)

    def run_until(self, handled: int) -> None:
        """Go on until so many deliveries are handled."""
        while len(self.ends) < handled:
            self.env.step()

    def outcome(self) -> Outcome:
        """What was counted."""
        seconds = self._scenario.seconds
        spent = self._cores.spent
        # Not the disk: however busy it is, more commits go to it together.
        busy = {"cores": sum(spent.values()) / seconds / self._cores.number}
        if self._web:
            busy["web processes"] = _share([one.interpreter for one in self._web], seconds)
            busy["generator"] = self._generator.spent / seconds
        if self._workers:
            busy["main processes of workers"] = _share([one.main for one in self._workers], seconds)
        return Outcome(
            answered=len(self._answers) / seconds,
            handled=len(self.ends) / seconds,
            answer_times=sorted(self._answers),
            handled_times=sorted(self.ends),
            busy=busy,
            cpu={part: used / seconds for part, used in spent.items()},
            messages=self._broker.messages / max(1, len(self._answers)),
        )


def _share(interpreters: list[Interpreter], seconds: float) -> float:
    return sum(one.spent for one in interpreters) / len(interpreters) / seconds
