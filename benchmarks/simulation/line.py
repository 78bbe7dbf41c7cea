"""Who finds nothing free waits in line."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

import simpy


class Line:
    """A number of places, given out in the order in which they are asked for.

    As simpy's ``Resource``, which takes three events for each use where this takes none as long as
    a place is free; with it, 64 cores would take minutes.
    """

    def __init__(self, env: simpy.Environment, places: int) -> None:
        self._env = env
        self._free = places
        self._waiting: deque[simpy.Event] = deque()

    def enter(self) -> Generator[simpy.Event, object, None]:
        """Get a place, now or later."""
        if self._free:
            self._free -= 1
            return
        mine = self._env.event()
        self._waiting.append(mine)
        yield mine

    def leave(self) -> None:
        """Give it to who waits longest."""
        if self._waiting:
            self._waiting.popleft().succeed()
        else:
            self._free += 1
