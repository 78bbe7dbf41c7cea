"""What becomes of a job: decided when it is created, and kept with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Outcome = Literal["succeeded", "failed", "expired", "cancelled", "requires_action"]
Output = Literal["gcs", "files", "inline"]

#: Codes of ``google.rpc.Code``.
CANCELLED = 1
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
INTERNAL = 13


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a job ends, if nobody cancels it before.

    Attributes:
        outcome: how; an unreadable input fails all the same.
        seconds: how long it takes.
        error_code: a number of ``google.rpc.Code``, for a job or for rows that fail.
        error_message: the same.
        failing_rows: share of a batch's rows, 0 to 1, that fail.
        answers: what the model says, row by row; it echoes the rows after these.
        answer: what the model says to all that, instead of the echo; it may be empty.
        output: where a batch's answers go; ``None``: where the options say.
    """

    outcome: Outcome = "succeeded"
    seconds: float = 0.0
    error_code: int = INTERNAL
    error_message: str = "Fails on request."
    failing_rows: float = 0.0
    answers: tuple[str, ...] = ()
    answer: str | None = None
    output: Output | None = None

    def within(self, seconds: float) -> Plan:
        """The same, but it expires if it is not done in so many seconds."""
        return (
            self if self.seconds <= seconds else replace(self, outcome="expired", seconds=seconds)
        )

    def fails_row(self, number: int) -> bool:
        """Whether this row, counted from 1, is of the share that fails; they are spread evenly."""
        return int(number * self.failing_rows) > int((number - 1) * self.failing_rows)

    def answer_to(self, number: int) -> str | None:
        """What the model says to row ``number``, counted from 1; ``None``: it echoes."""
        return self.answers[number - 1] if number <= len(self.answers) else self.answer
