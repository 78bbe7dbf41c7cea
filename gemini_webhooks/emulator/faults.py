"""Errors on demand: what a client must survive when the API has a bad day."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from gemini_webhooks.emulator.errors import ApiError

#: After these statuses a client may come back, so the answer says when.
PASSING = {429, 503}


@dataclass(frozen=True, kw_only=True)
class _Fault:
    method: str | None
    path_contains: str
    status: int
    retry_after: int

    def concerns(self, method: str, path: str) -> bool:
        return self.method in (None, method) and self.path_contains in path

    def error(self) -> ApiError:
        headers = {"Retry-After": str(self.retry_after)} if self.status in PASSING else None
        return ApiError(self.status, f"Fails on request with status {self.status}.", headers)


class Faults:
    """The faults that the next requests will meet; they are refused before they do anything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Fault] = deque()

    def __len__(self) -> int:
        """How many have not been met yet."""
        return len(self._waiting)

    def fail_next(
        self,
        *,
        status: int,
        method: str | None = None,
        path_contains: str = "",
        times: int = 1,
        retry_after: int = 1,
    ) -> None:
        """Refuse the next ``times`` requests that match.

        The official SDK repeats 408, 409, 429 and 5xx by itself, four times unless told
        otherwise, so one fault may pass unseen.

        Args:
            status: HTTP status of the answer.
            method: only requests with this method, for example ``"POST"``.
            path_contains: only requests whose path has this text in it.
            times: how many requests.
            retry_after: seconds that the header ``Retry-After`` of a 429 or 503 names.
        """
        fault = _Fault(
            method=method, path_contains=path_contains, status=status, retry_after=retry_after
        )
        with self._lock:
            self._waiting.extend([fault] * times)

    def meet(self, method: str, path: str) -> None:
        """Raise the oldest fault that concerns this request, if there is one.

        Raises:
            ApiError: there is one; it is used up.
        """
        with self._lock:
            met = next((fault for fault in self._waiting if fault.concerns(method, path)), None)
            if met is None:
                return
            self._waiting.remove(met)
        raise met.error()
