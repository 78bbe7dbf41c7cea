"""How quick receivers are, as far as this process has seen.

It remembers how long each took when it last ran here. So one that becomes slow is not taken for
quick again before it has shown that it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Others may have to wait for a receiver that is done within this time, in seconds.
QUICK_SECONDS = 0.05
#: One that takes longer than this is not begun as long as there is something else to do. The first
#: run in a process takes longer than others, and one among many may do so by chance.
SLOW_SECONDS = 0.25

_took: dict[str, float] = {}


def is_quick(receiver: str) -> bool:
    """Whether it was quick when it last ran; one that never did is not."""
    return _took.get(receiver, SLOW_SECONDS) <= QUICK_SECONDS


def may_be_quick(receiver: str) -> bool:
    """Whether it was not slow when it last ran, if it ever did."""
    return _took.get(receiver, 0.0) <= SLOW_SECONDS


@contextmanager
def measured(receiver: str) -> Iterator[None]:
    """Around a run of ``receiver``, with what belongs to it."""
    begun = time.monotonic()
    try:
        yield
    finally:
        _took[receiver] = time.monotonic() - begun


def reset() -> None:
    """Forget all of them, between tests."""
    _took.clear()
