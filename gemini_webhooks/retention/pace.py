"""How much at once, and how long to rest in between: nobody is to notice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connections

from gemini_webhooks import deliveries, logs

logger = logs.get_logger(__name__)

#: A batch holds its locks for about so long. They are on old rows, which hardly anybody wants; but
#: SQLite has one writer, so there all others wait for it.
BATCH_SECONDS, SQLITE_BATCH_SECONDS = 0.5, 0.1
FIRST_SIZE, LARGEST_SIZE = 50, 500
#: As long as it worked, it rests: others get half of the time at least, and the disk as well.
REST = 1.0
LONGEST_REST = 1.0
#: Databases resolve a deadlock by ending one of the two, and SQLite may be locked.
ATTEMPTS = 5

Value = TypeVar("Value")


class Pace:
    """The size of the next batch of one kind of work."""

    def __init__(self) -> None:
        self.size = FIRST_SIZE
        has_one_writer = connections[deliveries.alias()].vendor == "sqlite"
        self._batch_seconds = SQLITE_BATCH_SECONDS if has_one_writer else BATCH_SECONDS

    def took(self, seconds: float) -> None:
        """A batch took so long: rest, and take more or less of it the next time."""
        if seconds > self._batch_seconds:
            self.size = max(1, int(self.size * self._batch_seconds / seconds))
        elif seconds < self._batch_seconds / 2:
            self.size = min(LARGEST_SIZE, self.size * 2)
        time.sleep(min(seconds * REST, LONGEST_REST))


def patiently(work: Callable[[], Value]) -> Value:
    """Do something that may be begun again when the database could not do it at that moment.

    Raises:
        django.db.OperationalError: it cannot do it at all.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except OperationalError as error:
            logger.warning("pruning is put off: %s", type(error).__name__)
            time.sleep(attempt)
    return work()
