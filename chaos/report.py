"""The table at the end, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

from chaos.faults import Injected
from chaos.options import Options
from chaos.sender import Book
from chaos.verdict import Found, Verdict

SHOWN_CASES = 10
BOOT_SECONDS, WEB_STARTS = 30, "the web server was starting"


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is told about a run.

    Attributes:
        settle_seconds: from the end of the last fault until nothing was left to do; ``None`` if
            that did not come.
        fresh_seconds: how long a few more events took after that.
        restarts: how often each process had to be started again.
        turned_away: how often a worker came to commit what another one had taken over.
    """

    options: Options
    events: int
    kinds: Sequence[str]
    injected: Sequence[Injected]
    book: Book
    found: Found
    verdict: Verdict
    settle_seconds: float | None
    fresh_seconds: float | None
    restarts: dict[str, int]
    turned_away: int

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return self.verdict.holds and None not in (self.settle_seconds, self.fresh_seconds)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        book, cases = self.book, asdict(self.verdict)
        return {
            "good": self.good,
            "options": {
                name: str(value) if name == "json" else value
                for name, value in asdict(self.options).items()
            },
            "faults": {kind: _recoveries(self.injected, kind) for kind in self.kinds},
            "events": self.events,
            "attempts": book.attempts,
            "answered_2xx": len(book.answered),
            "answers": dict(sorted(book.statuses.items())),
            "duplicates_answered": book.duplicates,
            "answer_seconds": _spread(book.seconds),
            "slow_answers_after": dict(Counter(self._last_fault(at) for at in book.slow)),
            "late_workers_turned_away": self.turned_away,
            "deliveries": len(self.found.deliveries),
            "effects": len(self.found.effects),
            "run_attempts": dict(self.found.attempts),
            "calls_outside_transactions": self.found.calls,
            "settle_seconds": self.settle_seconds,
            "fresh_seconds": self.fresh_seconds,
            "restarts": self.restarts,
            **{name: len(found) for name, found in cases.items()},
            "cases": {name: found[:SHOWN_CASES] for name, found in cases.items() if found},
        }

    def _last_fault(self, at: float) -> str:
        """What a slow answer came after; a web server that starts lets requests wait."""
        before = [fault for fault in self.injected if fault.at < at]
        if any(fault.kind.startswith("web") and at - fault.at < BOOT_SECONDS for fault in before):
            return WEB_STARTS
        return before[-1].kind if before else "none"

    def lines(self) -> list[str]:
        """For people."""
        told = self.as_json()
        lines = [f"{'Fault':<34}{'injected':>9}   seconds to recover, median and longest"]
        for kind, recoveries in told["faults"].items():
            known = [seconds for seconds in recoveries if seconds is not None]
            spread = f"{median(known):10.1f}{max(known):8.1f}" if known else f"{'–':>10}"
            lines.append(f"{kind:<34}{len(recoveries):>9}{spread}")
        lines.append(f"{'all':<34}{len(self.injected):>9}")
        settled = self.settle_seconds
        answers = ", ".join(f"{n} × {status or 'none'}" for status, n in told["answers"].items())
        took = told["answer_seconds"]
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self.found.attempts.items()))
        facts = {
            "Events to send": self.events,
            "Attempts to send": told["attempts"],
            "Answers": answers,
            "Seconds to a 2xx": "median {median}, 99 % {p99}, longest {max}".format(**took),
            "2xx after more than 2 s": ", ".join(
                f"{n} after: {kind}" for kind, n in told["slow_answers_after"].items()
            )
            or 0,
            "Events answered 2xx": told["answered_2xx"],
            "Duplicates recognised": told["duplicates_answered"],
            "Deliveries stored": told["deliveries"],
            "Effects of receivers": told["effects"],
            "Attempts of receivers": outcomes,
            "Late workers turned away": self.turned_away,
            "Processes started again": sum(self.restarts.values()),
            "Seconds until all was settled": "never" if settled is None else f"{settled:.1f}",
            "Seconds for 20 events after that": self.fresh_seconds or "–",
            "Files left by killed workers": told["litter"],
            "Answered 500 instead of 503": told["erred"],
            "Lost": told["lost"],
            "Doubled": told["doubled"],
            "Stuck": told["stuck"],
            "Dead without a cause": told["dead"],
            "Owed to the end": told["owed"],
            "Refused": told["refused"],
            "Not what was sent": told["broken"],
        }
        lines += ["", *(f"{name:<34}{value!s:>9}" for name, value in facts.items()), ""]
        for name, cases in told["cases"].items():
            lines += [f"{name}: {case}" for case in cases]
        lines.append("Every promise held." if self.good else "FAILED.")
        return lines


def _recoveries(injected: Sequence[Injected], kind: str) -> list[float | None]:
    return [
        None if fault.recovery is None else round(fault.recovery, 2)
        for fault in injected
        if fault.kind == kind
    ]


def _spread(seconds: Sequence[float]) -> dict[str, float | None]:
    if len(seconds) < 2:
        return {"median": None, "p99": None, "max": None}
    cuts = quantiles(seconds, n=100)
    return {
        "median": round(median(seconds), 3),
        "p99": round(cuts[98], 3),
        "max": round(max(seconds), 3),
    }
