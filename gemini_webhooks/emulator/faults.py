"""Errors on demand, to see what a client makes of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(kw_only=True)
class _Fault:
    path_contains: str
    method: str | None
    status: int
    times: int


class Faults:
    """What the emulator answers instead of doing its work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[_Fault] = []

    def fail_next(
        self, *, status: int, path_contains: str = "", method: str | None = None, times: int = 1
    ) -> None:
        """Answer the next ``times`` matching calls with the HTTP ``status``."""
        fault = _Fault(path_contains=path_contains, method=method, status=status, times=times)
        with self._lock:
            self._faults.append(fault)

    def take(self, method: str, path: str) -> int | None:
        """The status that this call must be answered with, if any."""
        with self._lock:
            for fault in self._faults:
                matches = fault.path_contains in path and fault.method in (None, method)
                if matches and fault.times > 0:
                    fault.times -= 1
                    return fault.status
        return None
