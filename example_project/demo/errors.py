"""What can go wrong with a run."""

from __future__ import annotations


class DemoFailed(Exception):
    """The run cannot go on; the message says why."""
