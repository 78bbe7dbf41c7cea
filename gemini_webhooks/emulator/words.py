"""Words in a prompt that decide how its job ends, for whoever has no scenario at hand."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gemini_webhooks.emulator.plans import Outcome

FAIL_ROW = "fail-row"
FAIL_JOB = "fail-job"
EXPIRE_JOB = "expire-job"
CANCEL_JOB = "cancel-job"
NEED_ACTION = "need-action"
EMPTY_OUTPUT = "empty-output"
TAKE = "take-30s"

#: What each word does, for people; ``TAKE`` stands for any number of seconds.
MEANINGS: dict[str, str] = {
    FAIL_ROW: "this row of a batch fails; an interaction or a video fails as a whole",
    FAIL_JOB: "the job fails",
    EXPIRE_JOB: "the batch or the video expires",
    CANCEL_JOB: "the job ends as cancelled",
    NEED_ACTION: "the interaction calls the first function among its tools",
    TAKE: "the job takes so many seconds; take-2.5s works too",
    EMPTY_OUTPUT: "the model says nothing to this prompt",
}
OUTCOMES: dict[str, Outcome] = {
    FAIL_JOB: "failed",
    EXPIRE_JOB: "expired",
    CANCEL_JOB: "cancelled",
    NEED_ACTION: "requires_action",
}
_NAMES = "|".join(word for word in MEANINGS if word != TAKE)
_WORD = re.compile(
    rf"(?<![\w-])(?:({_NAMES})|take-(\d{{1,5}}(?:\.\d{{1,3}})?)s)(?![\w-])",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a prompt asks for.

    Attributes:
        words: those that it has, in their order, in lower case, without ``TAKE``.
        seconds: the longest time that it names.
    """

    words: tuple[str, ...] = ()
    seconds: float | None = None


def read(text: str) -> Wishes:
    """The words in ``text``; case does not count, and neither does a word within another."""
    matches = list(_WORD.finditer(text))
    times = [float(match[2]) for match in matches if match[2]]
    return Wishes(
        words=tuple(match[1].lower() for match in matches if match[1]),
        seconds=max(times, default=None),
    )


def found(text: str) -> frozenset[str]:
    """The words in ``text`` as a set."""
    return frozenset(read(text).words)


def asked_for(word: str) -> str:
    """The message of an error that the prompt asked for."""
    return f"The request asks to fail: it contains {word!r}."
