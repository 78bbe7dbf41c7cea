"""Web processes: threads that answer, and one that hands off."""

from __future__ import annotations

import simpy

from benchmarks.simulation.costs import Request, Servers
from benchmarks.simulation.line import Line
from benchmarks.simulation.machine import Cores, Interpreter, Steps
from benchmarks.simulation.servers import Broker, Database, Delivery, Message


class WebProcess:
    """One process with some threads.

    Args:
        pack: so many deliveries go into one message at most.
    """

    def __init__(
        self,
        env: simpy.Environment,
        cores: Cores,
        *,
        threads: int,
        request: Request,
        servers: Servers,
        database: Database,
        broker: Broker,
        pack: int,
    ) -> None:
        self._env = env
        self._threads = Line(env, threads)
        self.interpreter = Interpreter(env, cores, "web")
        self._request = request
        self._servers = servers
        self._database = database
        self._broker = broker
        self._pack = pack
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
            self._broker.publish(Message(deliveries=[delivery]))

    def _hand_off(self) -> Steps:
        while True:
            first = yield self._posted.get()
            yield self._env.timeout(self._servers.gather * 1e-6)
            gathered = [first]
            while self._posted.items:
                gathered.append((yield self._posted.get()))
            for start in range(0, len(gathered), self._pack):
                yield from self.interpreter.run(self._servers.send)
                self._broker.publish(Message(deliveries=gathered[start : start + self._pack]))
