"""Starts the processes of a run, and ends them whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from example_project.demo.errors import DemoFailed

PROJECT = Path(__file__).resolve().parent.parent
TAIL_LINES = 15
#: Nothing of a run is kept, so nobody has to finish his work.
GRACE_SECONDS = 1


class Processes:
    """Child processes with a log each, for use in a ``with`` statement.

    Args:
        logs: folder for the logs.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._running.values():
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
            # What is left of its group, even if the process itself is gone.
            _signal(process, signal.SIGKILL)
            process.wait()

    def manage(self, name: str, *arguments: str) -> None:
        """Start a management command of this site."""
        self._start(name, str(PROJECT / "manage.py"), *arguments)

    def celery(self, name: str, *arguments: str) -> None:
        """Start a Celery command."""
        self._start(name, "-m", "celery", "--app", "example_project.config", *arguments)

    def check(self) -> None:
        """See that all of them are alive.

        Raises:
            DemoFailed: one is not.
        """
        for name, process in self._running.items():
            if (code := process.poll()) is not None:
                raise DemoFailed(f"The {name} ended by itself with exit code {code}.")

    def wait_for(self, url: str, deadline: float) -> None:
        """Wait until ``url`` answers.

        Raises:
            DemoFailed: it did not by ``deadline``, or a process ended.
        """
        while time.monotonic() < deadline:
            self.check()
            with suppress(URLError, OSError), urlopen(url, timeout=2):  # noqa: S310  # http, ours
                return
            time.sleep(0.05)
        raise DemoFailed(f"Nothing answered at {url} in time.")

    def tails(self) -> dict[str, str]:
        """The last lines of each log."""
        return {
            name: "\n".join(self._log(name).read_text(errors="replace").splitlines()[-TAIL_LINES:])
            for name in self._running
        }

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _start(self, name: str, *arguments: str) -> None:
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603  # our own commands
                [sys.executable, *arguments],
                cwd=PROJECT.parent,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own, so that Ctrl-C reaches this process alone, which then ends
                # the others and all that they started.
                start_new_session=True,
            )


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
