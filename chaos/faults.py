"""What is broken, and how it is mended: one method per kind."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
import redis
from kombu.exceptions import OperationalError

from chaos.processes import Service, children, kill_orphans
from chaos.servers import Redis, purge
from chaos.stack import Stack

ORPHAN_SECONDS = 2
#: How long a worker is stopped, in leases: until others have taken over what it had.
STOPPED_LEASES, MOST_LEASES = 1.5, 8
#: How long to wait for a worker that is in the middle of a receiver.
BUSY_SECONDS = 5
TAKEN_OVER = """
SELECT 1 FROM gemini_webhooks_attempt a JOIN gemini_webhooks_receiverrun r ON r.id = a.run_id
    JOIN gemini_webhooks_webhookdelivery d ON d.id = r.delivery_id
    WHERE a.outcome = 'lost' AND r.receiver = 'slow' AND d.webhook_id = %s
"""


class NoTarget(Exception):
    """What the fault would hit is not there at the moment."""


@dataclass(kw_only=True)
class Injected:
    """One fault that took place.

    Attributes:
        at: when it began, monotonic.
        healed: when nothing of it was left that only the harness could mend.
        accepted, effect: when after that the first 2xx and the first effect came.
    """

    kind: str
    at: float
    healed: float = 0
    accepted: float | None = None
    effect: float | None = None

    @property
    def recovery(self) -> float | None:
        """Seconds from its begin until events were taken and processed again."""
        if self.accepted is None or self.effect is None:
            return None
        return max(self.accepted, self.effect) - self.at


@dataclass(kw_only=True)
class Faults:
    """Breaks things at random, one after the other, some of which go on meanwhile."""

    stack: Stack
    report: Callable[[str], None]
    injected: list[Injected] = field(default_factory=list)
    _pending: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(f"faults-{self.stack.options.seed}")  # noqa: S311  # no secret
        self.kinds = list(self.stack.options.only or KINDS)
        if DISK_FULL in self.kinds and not self.stack.has_own_disk:
            self.kinds.remove(DISK_FULL)
            self.report("the result disk is not filled: that needs root, for a disk of its own")

    def inject_until(self, is_over: Callable[[], bool]) -> None:
        """Inject faults, each kind in turn in a random order, with random pauses."""
        deck: list[str] = []
        while not is_over():
            if not deck:
                deck = self._random.sample(self.kinds, len(self.kinds))
            self._inject(deck.pop())
            time.sleep(self._random.uniform(0, 2 * self.stack.options.pause))

    def heal(self) -> None:
        """Wait for what still goes on."""
        for thread in self._pending:
            thread.join()

    def _inject(self, kind: str) -> None:
        fault = Injected(kind=kind, at=time.monotonic())
        self.report(kind)
        try:
            KINDS[kind](self)
        except (NoTarget, psycopg.Error, OperationalError, redis.RedisError, OSError):
            self.report("  … did not take place: its target is still down from a fault before")
            return
        fault.healed = time.monotonic()
        self.injected.append(fault)

    def _outage(self, longest: float = 4) -> None:
        time.sleep(self._random.uniform(0.2, longest))

    def _busy_child(self) -> int:
        """A pool process, if there is one then one in the middle of a receiver."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            pool = [pid for worker in self.stack.workers for pid in children(worker.pid)]
            busy = {int(mark.name) for mark in (self.stack.scratch / "busy").iterdir()}
            found = [pid for pid in pool if pid in busy]
            if found or time.monotonic() > deadline:
                return self._any(found or pool)
            time.sleep(0.05)

    def _any(self, pids: list[int]) -> int:
        if not pids:
            raise NoTarget
        return self._random.choice(pids)

    def _kill_worker_child(self) -> None:
        _signal(self._busy_child(), signal.SIGKILL)

    def _kill_worker_parent(self) -> None:
        self._kill_leader(self._random.choice(self.stack.workers))

    def _kill_leader(self, service: Service) -> None:
        """Kill a parent; its children have a moment to go on, until they are killed as well.

        A service manager would kill them at once. Here old and new ones work side by side.
        """
        pid = service.pid
        _kill(service)
        self._later(ORPHAN_SECONDS, lambda: kill_orphans(self.stack.processes.mark, pid))

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        def wait_and_act() -> None:
            time.sleep(seconds)
            act()

        thread = threading.Thread(target=wait_and_act, name="later", daemon=True)
        thread.start()
        self._pending.append(thread)

    def _stop_worker(self) -> None:
        pid = self._busy_child()
        _signal(pid, signal.SIGSTOP)

        mark = self.stack.scratch / "busy" / str(pid)
        webhook_id = mark.read_text() if mark.exists() else ""

        def go_on() -> None:
            lease = self.stack.lease_seconds
            deadline = time.monotonic() + (MOST_LEASES - STOPPED_LEASES) * lease
            while webhook_id and time.monotonic() < deadline:
                with suppress(psycopg.Error), self.stack.postgres.connect() as connection:
                    if connection.execute(TAKEN_OVER, [webhook_id]).fetchone():
                        time.sleep(lease / 3)  # the other one is in the middle of it
                        break
                time.sleep(0.5)
            _signal(pid, signal.SIGCONT)

        self._later(STOPPED_LEASES * self.stack.lease_seconds, go_on)

    def _kill_beat(self) -> None:
        _kill(self.stack.beat)

    def _kill_web_worker(self) -> None:
        _signal(self._any(children(self.stack.web.pid)), signal.SIGKILL)

    def _kill_web_master(self) -> None:
        self._kill_leader(self.stack.web)

    def _stop_broker(self) -> None:
        self.stack.broker.stop(crash=False)
        self._outage()
        self.stack.broker.start()

    def _kill_broker(self) -> None:
        self.stack.broker.stop(crash=True)
        self._outage()
        self.stack.broker.start()

    def _empty_broker(self) -> None:
        self.stack.broker.stop(crash=True, wipe=True)
        self.stack.broker.start()

    def _purge_queue(self) -> None:
        purge(self.stack.broker.url)

    def _restart_database(self) -> None:
        self.stack.postgres.restart(crash=False)

    def _crash_database(self) -> None:
        self.stack.postgres.restart(crash=True)

    def _kill_backend(self) -> None:
        self.stack.postgres.kill_backend()

    def _cut_connections(self) -> None:
        self.stack.postgres.cut()

    def _fill_disk(self) -> None:
        ballast = self.stack.disk / "ballast"
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(bytes(1024**2)):
                    pass
            self._outage()
        finally:
            ballast.unlink(missing_ok=True)

    def _kill_google(self) -> None:
        self.stack.processes.stop(self.stack.google, signal.SIGKILL)
        self._forget_keys()
        self._outage()
        self.stack.processes.start(self.stack.google)

    def _stop_google(self) -> None:
        _signal(self.stack.google.pid, signal.SIGSTOP)
        try:
            self._forget_keys()
            self._outage()
        finally:
            _signal(self.stack.google.pid, signal.SIGCONT)

    def _forget_keys(self) -> None:
        """With the key set in the cache nobody would notice that it cannot be fetched."""
        self.stack.cache.wipe()

    def _stop_cache(self) -> None:
        cache: Redis = self.stack.cache
        cache.stop(crash=True)
        self._outage()
        cache.start()


def _kill(service: Service) -> None:
    if not service.runs or service.process is None:
        raise NoTarget
    service.process.kill()


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


DISK_FULL = "result disk full"
KINDS: dict[str, Callable[[Faults], None]] = {
    "worker child killed": Faults._kill_worker_child,
    "worker parent killed": Faults._kill_worker_parent,
    "worker stopped past its lease": Faults._stop_worker,
    "beat killed": Faults._kill_beat,
    "web worker killed": Faults._kill_web_worker,
    "web master killed": Faults._kill_web_master,
    "broker stopped": Faults._stop_broker,
    "broker killed": Faults._kill_broker,
    "broker emptied": Faults._empty_broker,
    "queue purged": Faults._purge_queue,
    "database restarted": Faults._restart_database,
    "database crashed": Faults._crash_database,
    "database backend killed": Faults._kill_backend,
    "database connections cut": Faults._cut_connections,
    DISK_FULL: Faults._fill_disk,
    "key set and bucket gone": Faults._kill_google,
    "key set and bucket hang": Faults._stop_google,
    "cache down": Faults._stop_cache,
}
