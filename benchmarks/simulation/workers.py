"""A Celery worker: a main process that takes messages, children that work them off."""

from __future__ import annotations

from collections import deque

import simpy

from benchmarks.simulation.costs import Step, Work
from benchmarks.simulation.line import Line
from benchmarks.simulation.machine import Cores, Interpreter, Steps
from benchmarks.simulation.scenario import Scenario
from benchmarks.simulation.servers import Broker, Database, Delivery, Message

#: Celery's ``worker_prefetch_multiplier``.
PREFETCH = 4


class Worker:
    """One worker with some children, as the scenario has them."""

    def __init__(
        self,
        env: simpy.Environment,
        cores: Cores,
        scenario: Scenario,
        work: Work,
        *,
        database: Database,
        broker: Broker,
    ) -> None:
        self._env = env
        self._cores = cores
        self._work = work
        self._rules = scenario.rules
        self._servers = scenario.servers
        self._database = database
        self._broker = broker
        self.main = Interpreter(env, cores, "worker")
        self._reserved = Line(env, scenario.children * PREFETCH)
        self._ready: simpy.Store = simpy.Store(env)
        env.process(self._take())
        known = range(work.runs if scenario.has_learned else 0)
        for _ in range(scenario.children):
            env.process(self._work_off(set(known)))

    def _take(self) -> Steps:
        while True:
            yield from self._reserved.enter()
            message = yield self._broker.queue.get()
            self._broker.deliver()
            yield from self.main.run(self._work.main / 2)
            yield self._ready.put(message)

    def _work_off(self, known: set[int]) -> Steps:
        while True:
            message = yield self._ready.get()
            # A child gets its next message from the main process when it has told of the last.
            yield self._env.timeout(self._servers.pool * 1e-6)
            yield from self.main.run(self._work.main / 2)
            yield from self._execute(message, known)
            self._reserved.leave()

    def _execute(self, message: Message, known: set[int]) -> Steps:
        work = self._work
        until = self._env.now + self._rules.budget * 1e-6
        yield from self._cores.run("worker", work.message_child)
        yield from self._cores.run("database", work.message_database)
        if message.receiver is not None:
            yield from self._do(work.alone, like=work.inline)
            known.add(message.receiver)
            self._end_run(message.deliveries[0])
            return
        runs = yield from self._plan(message, known)
        while runs and self._env.now < until:
            delivery, receiver = runs.popleft()
            yield from self._do(work.inline, like=work.inline)
            known.add(receiver)
            self._end_run(delivery)
        for delivery, receiver in runs:
            self._hand_on(delivery, receiver)

    def _plan(self, message: Message, known: set[int]) -> Steps:
        """Hands on the runs that may not be quick; returns those that are done here."""
        quick: deque[tuple[Delivery, int]] = deque()
        last: list[tuple[Delivery, int]] = []
        for delivery in message.deliveries:
            yield from self._do(self._work.plan, like=self._work.plan)
            delivery.left = self._work.runs
            if not delivery.left:
                delivery.handled.succeed()
            for receiver in range(self._work.runs):
                if receiver in known:
                    quick.append((delivery, receiver))
                elif not last:
                    last.append((delivery, receiver))
                else:
                    self._hand_on(delivery, receiver)
        quick.extend(last)
        return quick

    def _hand_on(self, delivery: Delivery, receiver: int) -> None:
        self._broker.publish(Message(deliveries=[delivery], receiver=receiver))

    def _end_run(self, delivery: Delivery) -> None:
        delivery.left -= 1
        if not delivery.left:
            delivery.handled.succeed()

    def _do(self, step: Step, *, like: Step) -> Steps:
        """Compute, ask, wait, as often as the step asks; it computes as much as ``like``."""
        work = self._work
        done = 0
        trips = max(1, round(step.round_trips))
        share = like.round_trips / work.round_trips / trips
        for number in range(1, trips + 1):
            yield from self._cores.run("worker", work.child * share)
            due = int(number * step.commits / trips + 1e-9)
            yield from self._database.execute(work.database * share, commits=due > done)
            done = due
