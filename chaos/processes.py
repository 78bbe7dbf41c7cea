"""Child processes: started, restarted when they die, and ended with all that they left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

#: In the environment of each process of a run: what has lost its parent is found by it.
MARK = "CHAOS_RUN"
WATCH_SECONDS = 0.1


class ChaosError(Exception):
    """The experiment itself failed: it says nothing about the app."""


@dataclass(kw_only=True)
class Service:
    """A process that runs, or that is started again after it has died.

    Attributes:
        last_signal: what ends it at the end of the run.
        kept: restart it; a fault takes that away while it wants the process gone.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    user: str | None = None
    last_signal: int = signal.SIGKILL
    kept: bool = True
    process: subprocess.Popen[bytes] | None = None
    restarts: int = -1

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        if self.process is None:
            raise ChaosError(f"{self.name} was never started")
        return self.process.pid

    @property
    def runs(self) -> bool:
        """Whether it is there, stopped or not."""
        return self.process is not None and self.process.poll() is None


class Processes:
    """The processes of a run, for use in a ``with`` statement.

    Args:
        logs: folder for one log per process. They work there, so that no code is found but what
            their environment names.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.mark = uuid.uuid4().hex
        self._services: list[Service] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._watch.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._watch.join()
        with self._lock:
            for service in self._services:
                service.kept = False
                _signal(service, signal.SIGCONT)
                _signal(service, service.last_signal)
        for service in self._services:
            if service.process:
                with suppress(subprocess.TimeoutExpired):
                    service.process.wait(10)
                service.process.kill()
                service.process.wait()
        self._end_orphans()

    def add(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        user: str | None = None,
        last_signal: int = signal.SIGKILL,
    ) -> Service:
        """Start a service and keep it running."""
        service = Service(
            name=name,
            command=command,
            environment=environment,
            user=user,
            last_signal=last_signal,
        )
        self.start(service)
        with self._lock:
            self._services.append(service)
        return service

    def start(self, service: Service) -> None:
        """Start it now, unless it runs, and keep it running from now on."""
        with self._lock:
            if not service.runs and not self._ended.is_set():
                self._spawn(service)
            service.kept = True

    def stop(
        self, service: Service, with_signal: int, *, group: bool = False, seconds: float = 20
    ) -> None:
        """End it with a signal, which its children get too if it is for the group; no restart."""
        with self._lock:
            service.kept = False
            if group:
                _signal_group(service, with_signal)
            _signal(service, with_signal)
        if service.process:
            try:
                service.process.wait(seconds)
            except subprocess.TimeoutExpired:
                service.process.kill()
                service.process.wait()

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], *, user: str | None = None
    ) -> str:
        """Run a command to its end; returns what it printed.

        Raises:
            ChaosError: it failed.
        """
        done = subprocess.run(  # noqa: S603  # commands of this package
            command,
            cwd=self.logs,
            env={**environment, MARK: self.mark},
            user=user,
            group=user,
            extra_groups=[] if user else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ChaosError(f"{command[0]} failed: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout

    def run_python(self, environment: Mapping[str, str], *arguments: str) -> str:
        """Run this interpreter to its end; likewise."""
        return self.run([sys.executable, *arguments], environment)

    def restarts(self) -> dict[str, int]:
        """How often each service was started again."""
        return {service.name: service.restarts for service in self._services}

    def _spawn(self, service: Service) -> None:
        with (self.logs / f"{service.name}.log").open("ab") as log:
            service.process = subprocess.Popen(  # noqa: S603  # commands of this package
                service.command,
                cwd=self.logs,
                env={**service.environment, MARK: self.mark},
                user=service.user,
                group=service.user,
                extra_groups=[] if service.user else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the harness, which ends them itself
            )
        service.restarts += 1

    def _supervise(self) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            with self._lock:
                for service in self._services:
                    if service.kept and not service.runs:
                        self._spawn(service)

    def _end_orphans(self) -> None:
        deadline = time.monotonic() + 20
        while found := marked(self.mark):
            for pid in found:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise ChaosError(f"these processes cannot be ended: {found}")
            time.sleep(0.05)


def _signal(service: Service, number: int) -> None:
    if service.runs and service.process:
        service.process.send_signal(number)


def _signal_group(service: Service, number: int) -> None:
    if service.runs:
        with suppress(ProcessLookupError):
            os.killpg(service.pid, number)


def children(pid: int) -> list[int]:
    """Children of a process that are alive; none if it has gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def marked(mark: str) -> list[int]:
    """Processes of the run with this mark, orphans among them."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or belongs to somebody else
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def kill_orphans(mark: str, group: int) -> None:
    """Kill what is left of a process group of the run whose leader has died."""
    for pid in marked(mark):
        with suppress(ProcessLookupError):
            if os.getpgid(pid) == group:
                os.kill(pid, signal.SIGKILL)


def wait_until(true: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Poll until something holds.

    Raises:
        ChaosError: it does not come to hold in time.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise ChaosError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)
