"""A scenario: rules that say how jobs end, the first that matches a job wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from gemini_webhooks.emulator.plans import Outcome, Output

Kind = Literal["batch", "interaction", "video"]

ALL_KINDS: frozenset[Kind] = frozenset(("batch", "interaction", "video"))
#: Outcomes that not every kind of job can have.
KINDS_OF: Mapping[Outcome, frozenset[Kind]] = {
    "expired": frozenset(("batch", "video")),
    "requires_action": frozenset(("interaction",)),
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A job about to start, as far as rules look at it.

    Attributes:
        model: its name without ``models/``, or that of an agent.
        text: of all its prompts.
        metadata: the ``user_metadata`` of its ``webhook_config``.
    """

    kind: Kind
    model: str
    display_name: str = ""
    text: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Match:
    """Which jobs a rule is for; what is ``None`` matches all.

    Attributes:
        kinds: also those that can have the outcome of the rule.
        model: glob.
        display_name: glob.
        text: is somewhere in the prompts, whatever the case.
        metadata: has these values, and maybe more.
    """

    kinds: frozenset[Kind] = ALL_KINDS
    model: str | None = None
    display_name: str | None = None
    text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def accepts(self, asked: Asked) -> bool:
        """Whether all of it holds."""
        return (
            asked.kind in self.kinds
            and (self.model is None or fnmatchcase(asked.model, self.model))
            and (self.display_name is None or fnmatchcase(asked.display_name, self.display_name))
            and (self.text is None or self.text.lower() in asked.text.lower())
            and all(
                name in asked.metadata and asked.metadata[name] == value
                for name, value in self.metadata.items()
            )
        )


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What becomes of the jobs that match; what is ``None`` is left as it would be.

    Attributes:
        times: how many jobs it is for; the next one gets the next rule that matches.
        seconds: shortest and longest time that a job takes.
        error_code: a number of ``google.rpc.Code``.
        failing_rows: share of a batch's rows, 0 to 1.
        answers: what the model says, row by row.
        answer: what the model says to the rows after these.
    """

    match: Match = field(default_factory=Match)
    times: int | None = None
    outcome: Outcome | None = None
    seconds: tuple[float, float] | None = None
    error_code: int | None = None
    error_message: str | None = None
    failing_rows: float | None = None
    answers: tuple[str, ...] | None = None
    answer: str | None = None
    output: Output | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The content of a scenario file.

    Attributes:
        rules: for jobs, in their order.
        seed: decides how long a job takes within its rule's range.
        options: values of :class:`~gemini_webhooks.emulator.options.Options` by name, for those
            that nobody sets otherwise.
    """

    rules: tuple[Rule, ...] = ()
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
