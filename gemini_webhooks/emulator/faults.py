"""Errors on demand: what a client must survive when the API has a bad day."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from gemini_webhooks.emulator.errors import ApiError

#: After these statuses a client may come back, so the answer says when.
PASSING = {429, 503}


class AnswerLost(ConnectionAbortedError):
    """The connection is closed without an answer."""


@dataclass(frozen=True, kw_only=True)
class _Fault:
    method: str | None
    path_contains: str
    status: int | None
    retry_after: int
    done: bool

    def concerns(self, method: str, path: str) -> bool:
        return self.method in (None, method) and self.path_contains in path

    def error(self) -> ApiError | AnswerLost:
        if self.status is None:
            return AnswerLost("The answer is lost on request.")
        headers = {"Retry-After": str(self.retry_after)} if self.status in PASSING else None
        return ApiError(self.status, f"Fails on request with status {self.status}.", headers)


class Faults:
    """The faults that the next requests will meet, before or after they have done their work."""

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
        done: bool = False,
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
            done: the work is done all the same, and only the answer denies it.
        """
        fault = _Fault(
            method=method,
            path_contains=path_contains,
            status=status,
            retry_after=retry_after,
            done=done,
        )
        with self._lock:
            self._waiting.extend([fault] * times)

    def drop_answer(
        self, *, method: str | None = None, path_contains: str = "", times: int = 1
    ) -> None:
        """Do the work of the next ``times`` requests that match, and close without an answer.

        Within a site's own URLconf the answer is that site's 500 instead. The official SDK
        repeats such calls by itself.

        Args:
            method: only requests with this method.
            path_contains: only requests whose path has this text in it.
            times: how many requests.
        """
        fault = _Fault(
            method=method, path_contains=path_contains, status=None, retry_after=0, done=True
        )
        with self._lock:
            self._waiting.extend([fault] * times)

    def clear(self) -> None:
        """Forget those that have not been met."""
        with self._lock:
            self._waiting.clear()

    def meet(self, method: str, path: str, *, done: bool) -> None:
        """Raise the oldest fault that concerns this request, if there is one.

        Args:
            method: of the request.
            path: of the request.
            done: whether the work is done, so that it is the turn of the other faults.

        Raises:
            ApiError, AnswerLost: there is one; it is used up.
        """
        with self._lock:
            met = next(
                (
                    fault
                    for fault in self._waiting
                    if fault.done == done and fault.concerns(method, path)
                ),
                None,
            )
            if met is None:
                return
            self._waiting.remove(met)
        raise met.error()
