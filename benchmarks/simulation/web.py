"""Web processes: threads that answer, and one that hands off."""

from __future__ import annotations

import simpy

from benchmarks.simulation.costs import Request, Rules, Servers
from benchmarks.simulation.line import Line
from benchmarks.simulation.machine import Cores, Interpreter, Steps
from benchmarks.simulation.servers import Broker, Database, Delivery, Message


class WebProcess:
    """One process with some threads."""

    def __init__(
        self,
        env: simpy.Environment,
        cores: Cores,
        *,
        threads: int,
        request: Request,
        rules: Rules,
        servers: Servers,
        database: Database,
        broker: Broker,
    ) -> None:
        self._env = env
        self._threads = Line(env, threads)
        self.interpreter = Interpreter(env, cores, "web")
        self._request = request
        self._rules = rules
        self._servers = servers
        self._database = database
        self._broker = broker
        self._posted: simpy.Store = simpy.Store(env)
        env.process(self._hand_off())

    def answer(self, delivery: Delivery) -> Steps:
        """One request, until it is answered."""
        yield from self._threads.enter()
        yield from self.interpreter.run(self._request.web / 2)
        yield from self._database.execute(self._request.database, commits=True)
        yield from self.interpreter.run(self._request.web / 2)
        self._threads.leave()
        if self._request.is_packed:
            yield self._posted.put(delivery)
        elif self._request.messages:
            self._broker.publish(Message(deliveries=[delivery]), self._request.broker)

    def _hand_off(self) -> Steps:
        rules = self._rules
        short, long = rules.gather * 1e-6, rules.busy_gather * 1e-6
        pause = short
        while True:
            begun = self._env.now
            gathered = [(yield self._posted.get())]
            if self._env.now - begun > long:
                pause = short
            yield self._env.timeout(pause)
            while self._posted.items:
                gathered.append((yield self._posted.get()))
            many = rules.many if pause == short else rules.still_many
            pause = long if len(gathered) >= many else short
            for start in range(0, len(gathered), rules.pack):
                yield from self.interpreter.run(self._servers.send)
                self._broker.publish(Message(deliveries=gathered[start : start + rules.pack]))
