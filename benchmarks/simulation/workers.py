"""A Celery worker: a main process that takes messages, children that work them off."""

from __future__ import annotations

import simpy

from benchmarks.simulation.costs import Servers, Step, Work
from benchmarks.simulation.line import Line
from benchmarks.simulation.machine import Cores, Interpreter, Steps
from benchmarks.simulation.servers import Broker, Database, Message

#: Celery's ``worker_prefetch_multiplier``.
PREFETCH = 4


class Worker:
    """One worker with some children."""

    def __init__(
        self,
        env: simpy.Environment,
        cores: Cores,
        *,
        children: int,
        work: Work,
        servers: Servers,
        database: Database,
        broker: Broker,
    ) -> None:
        self._env = env
        self._cores = cores
        self._work = work
        self._servers = servers
        self._database = database
        self._broker = broker
        self.main = Interpreter(env, cores, "worker")
        self._reserved = Line(env, children * PREFETCH)
        self._ready: simpy.Store = simpy.Store(env)
        #: Round trips of one delivery, all of its messages together.
        self._trips = work.first.round_trips + work.follow_ups * work.later.round_trips
        env.process(self._take())
        for _ in range(children):
            env.process(self._work_off())

    def _take(self) -> Steps:
        while True:
            yield from self._reserved.enter()
            message = yield self._broker.queue.get()
            self._broker.deliver()
            yield from self.main.run(self._work.main / 2)
            yield self._ready.put(message)

    def _work_off(self) -> Steps:
        while True:
            message = yield self._ready.get()
            # A child gets its next message from the main process when it has told of the last.
            yield self._env.timeout(self._servers.hop * 1e-6)
            yield from self.main.run(self._work.main / 2)
            yield from self._execute(message)
            self._reserved.leave()

    def _execute(self, message: Message) -> Steps:
        step = self._work.first if message.is_first else self._work.later
        for delivery in message.deliveries:
            yield from self._database_work(step)
            if message.is_first:
                delivery.left = self._work.follow_ups
                for _ in range(self._work.follow_ups):
                    self._broker.publish(Message(deliveries=[delivery], is_first=False))
            else:
                delivery.left -= 1
            if not delivery.left:
                delivery.handled.succeed()

    def _database_work(self, step: Step) -> Steps:
        """Compute, ask, wait, as often as the step asks."""
        done = 0
        trips = max(1, round(step.round_trips))
        share = step.round_trips / self._trips / trips if self._trips else 0
        for number in range(1, trips + 1):
            yield from self._cores.run("worker", self._work.child * share)
            due = int(number * step.commits / trips + 1e-9)
            yield from self._database.execute(self._work.database * share, commits=due > done)
            done = due
