"""The table at the end of an upgrade, and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chaos.report import SHOWN_CASES
from chaos.sender import SLOW_SECONDS, Book
from chaos.upgrade.options import UpgradeOptions
from chaos.verdict import Found, Verdict


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What the sender saw in one part of the course.

    Attributes:
        statuses: answers, by status; 0: none came.
        longest: seconds that the longest 2xx took of those under way.
    """

    name: str
    seconds: float
    statuses: Mapping[int, int]
    longest: float

    @property
    def is_migration(self) -> bool:
        """Whether tables were changed in it."""
        return self.name.startswith("migration")


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is told about an upgrade.

    Attributes:
        app_waits: seconds that a process of the site waited for a table while it was migrated.
        migration_waits: seconds that the migration waited.
        changed_rows: rows of before that are not what they were.
        settle_seconds: from the last change until nothing was left to do; ``None``: never.
    """

    options: UpgradeOptions
    events: int
    phases: Sequence[Phase]
    app_waits: Mapping[str, float]
    migration_waits: Mapping[str, float]
    book: Book
    found: Found
    verdict: Verdict
    changed_rows: int
    restarts: int
    settle_seconds: float | None

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return (
            self.verdict.holds
            and not self.changed_rows
            and not self.restarts
            and self.settle_seconds is not None
            and not self.hindered
        )

    @property
    def hindered(self) -> bool:
        """Whether a request had to wait, or was turned away, because tables were changed."""
        return any(
            phase.longest > SLOW_SECONDS or any(not 200 <= n < 300 for n in phase.statuses)
            for phase in self.phases
            if phase.is_migration
        )

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        cases = asdict(self.verdict)
        return {
            "good": self.good,
            "options": self.options.as_json(),
            "events": self.events,
            "phases": [
                {
                    "name": phase.name,
                    "seconds": round(phase.seconds, 1),
                    "answers": dict(sorted(phase.statuses.items())),
                    "longest_2xx_seconds": round(phase.longest, 2),
                }
                for phase in self.phases
            ],
            "app_waited_seconds": _rounded(self.app_waits),
            "migration_waited_seconds": _rounded(self.migration_waits),
            "answered_2xx": len(self.book.answered),
            "duplicates_answered": self.book.duplicates,
            "deliveries": len(self.found.deliveries),
            "effects": len(self.found.effects),
            "run_attempts": dict(self.found.attempts),
            "changed_rows": self.changed_rows,
            "restarts": self.restarts,
            "settle_seconds": self.settle_seconds,
            **{name: len(found) for name, found in cases.items()},
            "cases": {name: found[:SHOWN_CASES] for name, found in cases.items() if found},
        }

    def lines(self) -> list[str]:
        """For people."""
        told = self.as_json()
        lines = [f"{'':<34}{'seconds':>9}{'2xx':>7}{'503':>6}{'none':>6}   longest 2xx, seconds"]
        for phase in self.phases:
            good = sum(count for status, count in phase.statuses.items() if 200 <= status < 300)
            counts = f"{good:>7}{phase.statuses.get(503, 0):>6}{phase.statuses.get(0, 0):>6}"
            lines.append(f"{phase.name:<34}{phase.seconds:>9.1f}{counts}{phase.longest:>11.2f}")
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self.found.attempts.items()))
        facts = {
            "Rows before, in each of 4 tables": self.options.rows,
            "  changed": self.changed_rows,
            "Longest wait of the site, seconds": _waits(self.app_waits),
            "Longest wait of the migration": _waits(self.migration_waits),
            "Events answered 2xx": f"{told['answered_2xx']} of {self.events}",
            "Duplicates recognised": told["duplicates_answered"],
            "Deliveries stored": told["deliveries"],
            "Effects of receivers": told["effects"],
            "Attempts of receivers": outcomes,
            "Processes that died": self.restarts,
            "Seconds until all was settled": "never"
            if self.settle_seconds is None
            else self.settle_seconds,
            "Lost": told["lost"],
            "Doubled": told["doubled"],
            "Stuck": told["stuck"],
            "Dead without a cause": told["dead"],
            "Owed to the end": told["owed"],
            "Refused": told["refused"],
            "Answered 500 instead of 503": told["erred"],
            "Not what was sent": told["broken"],
        }
        lines += ["", *(f"{name:<34}{value!s:>9}" for name, value in facts.items()), ""]
        for name, cases in told["cases"].items():
            lines += [f"{name}: {case}" for case in cases]
        if self.hindered:
            lines.append("Requests were kept waiting or turned away while tables were changed.")
        lines.append("Every promise held." if self.good else "FAILED.")
        return lines


def _rounded(waits: Mapping[str, float]) -> dict[str, float]:
    return {what: round(seconds, 2) for what, seconds in sorted(waits.items())}


def _waits(waits: Mapping[str, float]) -> str:
    if not waits:
        return "none seen"
    what, seconds = max(waits.items(), key=lambda item: item[1])
    return f"{seconds:.2f} ({what.removeprefix('gemini_webhooks_')})"
