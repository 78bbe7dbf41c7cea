"""Decides what becomes of a job: by words in its prompt, by the scenario, or by the options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from gemini_webhooks.emulator import words
from gemini_webhooks.emulator.plans import INVALID_ARGUMENT, Outcome, Plan
from gemini_webhooks.emulator.rules import ALL_KINDS, KINDS_OF, Asked, Rule, Scenario

TAKEN_OVER = (
    "outcome",
    "error_code",
    "error_message",
    "failing_rows",
    "answers",
    "answer",
    "output",
)


class Planner:
    """Keeps count of what each rule was used for; the emulator's lock is held around each use.

    Args:
        scenario: its rules; without one, jobs do as their prompts say.
    """

    def __init__(self, scenario: Scenario | None) -> None:
        self._scenario = scenario or Scenario()
        self._used: Counter[int] = Counter()

    @property
    def used(self) -> dict[int, int]:
        """How many jobs each rule was used for, by its position; can be set after a restart."""
        return dict(self._used)

    @used.setter
    def used(self, counts: Mapping[int, int]) -> None:
        self._used = Counter(counts)

    def plan(self, asked: Asked, seconds: float) -> Plan:
        """What becomes of the job; the words in its prompt win over the scenario.

        Args:
            asked: the job.
            seconds: how long it takes if nothing else is said.
        """
        return _by_words(asked, self._by_rules(asked, Plan(seconds=seconds)))

    def _by_rules(self, asked: Asked, plan: Plan) -> Plan:
        for position, rule in enumerate(self._scenario.rules):
            used = self._used[position]
            if rule.match.accepts(asked) and (rule.times is None or used < rule.times):
                self._used[position] += 1
                # One draw for each use: what other rules do does not change it.
                random = Random(f"{self._scenario.seed}/{position}/{used}")  # noqa: S311  # no secret
                return _by_rule(rule, plan, random)
        return plan


def _by_rule(rule: Rule, plan: Plan, random: Random) -> Plan:
    values: dict[str, Any] = {
        name: value for name in TAKEN_OVER if (value := getattr(rule, name)) is not None
    }
    if rule.seconds is not None:
        values["seconds"] = random.uniform(*rule.seconds)
    return replace(plan, **values)


def _by_words(asked: Asked, plan: Plan) -> Plan:
    wishes = words.read(asked.text)
    if wishes.seconds is not None:
        plan = replace(plan, seconds=wishes.seconds)
    for word in wishes.words:
        outcome = _outcome(word, asked)
        if outcome == "failed":
            code = INVALID_ARGUMENT if word == words.FAIL_ROW else Plan.error_code
            message = words.asked_for(word)
            return replace(plan, outcome=outcome, error_code=code, error_message=message)
        if outcome is not None:
            return replace(plan, outcome=outcome)
    return plan


def _outcome(word: str, asked: Asked) -> Outcome | None:
    if word == words.FAIL_ROW:
        # A batch looks for it row by row.
        return None if asked.kind == "batch" else "failed"
    outcome = words.OUTCOMES.get(word)
    if outcome is None or asked.kind not in KINDS_OF.get(outcome, ALL_KINDS):
        return None
    return outcome
