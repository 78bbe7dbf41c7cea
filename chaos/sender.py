"""Google's sender: at least once. It repeats each event until a 2xx comes, and keeps book."""

from __future__ import annotations

import heapq
import http.client
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from chaos.events import Event, Signer
from chaos.servers import LOOPBACK

PATH = "/webhooks/gemini/"
CONNECTIONS = 16
TIMEOUT_SECONDS = 15
FIRST_RETRY_SECONDS = 0.3
LAST_RETRY_SECONDS = 4.0
SLOW_SECONDS = 2
#: Gunicorn ends connections that were idle for two seconds.
IDLE_SECONDS = 1
#: Shares of the events that are sent again although a 2xx came; and at the same moment.
DUPLICATES, TWINS = 0.05, 0.03


@dataclass(kw_only=True)
class Book:
    """What the sender knows at the end.

    Attributes:
        answered: ids that got a 2xx.
        accepted: how often each id was answered as new.
        refused: what came instead of 2xx or 5xx, by status.
        statuses: every answer, by status; 0: none came.
        seconds: how long each 2xx took.
        ends: monotonic time of each of these.
        slow: monotonic times of 2xx that took longer than :data:`SLOW_SECONDS`.
        answered_at: monotonic time of the newest 2xx.
    """

    attempts: int = 0
    answered: set[str] = field(default_factory=set)
    accepted: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list, repr=False)
    ends: list[float] = field(default_factory=list, repr=False)
    slow: list[float] = field(default_factory=list, repr=False)
    answered_at: float = 0


@dataclass(order=True)
class _Due:
    at: float
    number: int
    event: Event = field(compare=False)
    tries: int = field(compare=False, default=0)
    #: A duplicate is not owed: it is sent once, whatever the answer.
    owed: bool = field(compare=False, default=True)


class Sender:
    """Sends events from several threads, for use in a ``with`` statement.

    Args:
        events: each is owed until it got a 2xx.
        seconds: they are spread over this time.
        book: to be continued; a new one by default.
    """

    def __init__(
        self,
        events: Sequence[Event],
        signer: Signer,
        port: int,
        *,
        seconds: float,
        seed: int,
        book: Book | None = None,
    ) -> None:
        self.book = book or Book()
        self._signer = signer
        self._port = port
        self._random = random.Random(f"sender-{seed}")  # noqa: S311  # no secret
        self._numbers = itertools.count()
        self._turn = threading.Condition()
        self._ended = False
        self._under_way = 0
        self._waiting: list[_Due] = []
        start = time.monotonic()
        for event in events:
            at = start + self._random.uniform(0, seconds)
            self._push(at, event)
            if self._random.random() < TWINS:
                self._push(at, event, owed=False)
        self._threads = [
            threading.Thread(target=self._work, name=f"sender-{number}", daemon=True)
            for number in range(CONNECTIONS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._turn:
            self._ended = True
            self._turn.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def open(self) -> int:
        """How many have still to be sent."""
        with self._turn:
            return len(self._waiting) + self._under_way

    def _push(self, at: float, event: Event, *, tries: int = 0, owed: bool = True) -> None:
        heapq.heappush(self._waiting, _Due(at, next(self._numbers), event, tries, owed))

    def _work(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=TIMEOUT_SECONDS)
        answered = 0.0
        while (due := self._next()) is not None:
            started = time.monotonic()
            if started - answered > IDLE_SECONDS:
                connection.close()  # before the server does: it opens again by itself
            status, answer = self._post(connection, due.event)
            answered = time.monotonic()
            with self._turn:
                self._note(due, status, answer, started)
                self._under_way -= 1
                self._turn.notify_all()
        connection.close()

    def _next(self) -> _Due | None:
        with self._turn:
            while not self._ended:
                wait = self._waiting[0].at - time.monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    self._under_way += 1
                    return heapq.heappop(self._waiting)
                self._turn.wait(wait)
        return None

    def _post(self, connection: http.client.HTTPConnection, event: Event) -> tuple[int, bytes]:
        try:
            headers = self._signer.headers(event)
            connection.request("POST", PATH, body=event.body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            with suppress(OSError):
                connection.close()  # the next request opens it again
            return 0, b""

    def _note(self, due: _Due, status: int, answer: bytes, started: float) -> None:
        book, event, now = self.book, due.event, time.monotonic()
        book.attempts += 1
        book.statuses[status] += 1
        if 200 <= status < 300:
            book.answered_at = now
            book.seconds.append(now - started)
            book.ends.append(now)
            if now - started > SLOW_SECONDS:
                book.slow.append(now)
            is_first = event.id not in book.answered
            book.answered.add(event.id)
            if b'"accepted"' in answer:
                book.accepted[event.id] += 1
            else:
                book.duplicates += 1
            if is_first and due.owed and self._random.random() < DUPLICATES:
                self._push(now + self._random.uniform(0, 5), event, owed=False)
            return
        if status and status < 500:
            book.refused[status] += 1
        if due.owed:
            longest = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**due.tries)
            self._push(now + self._random.uniform(0.1, longest), event, tries=due.tries + 1)
