"""The outcome of a delivery: what a test asserts, and what it has happen next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from gemini_webhooks import clock, replay
from gemini_webhooks.models import Attempt, ReceiverRun, ResultFile, WebhookDelivery
from gemini_webhooks.processing import Handoff, handoffs_of
from gemini_webhooks.testing import stage
from gemini_webhooks.testing.seen import Named, Seen, attempts, counted, told

#: A failed assertion is shown where the test makes it: by pytest, and by unittest.
__tracebackhide__ = __unittest = True

#: What a test calls the one who asks for a replay.
ACTOR = "test"
#: How far an assertion about seconds may be off.
TOLERANCE_SECONDS = 1.0


class Worker(Protocol):
    """Does what is handed on, in the test's own process."""

    def work(
        self, handoffs: Sequence[Handoff], *, wait: timedelta, raises: bool, about: object
    ) -> int:
        """Do it ``wait`` later; returns how many attempts of receivers that took."""


@dataclass(frozen=True, kw_only=True)
class Outcome(Seen):
    """What became of one delivery. ``str()`` tells it in words.

    A receiver is named by its function, or by its name with or without the module.
    """

    _worker: Worker = field(repr=False)

    # --- what happens next

    def run(self, *, raises: bool = True) -> Outcome:
        """Run its receivers, after ``deliver(run=False)``.

        Args:
            raises: raise what a receiver raises.
        """
        taken_up = Handoff(kind="delivery", id=self.delivery.pk)
        return self._work([taken_up, *handoffs_of(self.delivery)], raises=raises)

    def retry(self, *receivers: Named, times: int = 1, raises: bool = True) -> Outcome:
        """Let the time pass that retries wait for, and run them.

        Args:
            *receivers: whose; by default all that wait.
            times: how often, at most: what has ended is not tried again.
            raises: raise what a receiver raises.

        Raises:
            AssertionError: none waits for a retry.
        """
        if not self._retrying(receivers):
            raise AssertionError(f"nothing waits for a retry.\n{self}")
        for _ in range(times):
            waiting = self._retrying(receivers)
            if not waiting:
                break
            due = max(run.next_attempt_at for run in waiting if run.next_attempt_at)
            runs = [Handoff(kind="run", id=run.pk) for run in waiting]
            self._work(runs, wait=max(due - clock.now(), timedelta(0)), raises=raises)
        return self

    def replay(self, *receivers: Named, raises: bool = True) -> Outcome:
        """Run its receivers again, as the admin does; they are told ``event.is_replay``.

        Args:
            *receivers: which; by default all of them.
            raises: raise what a receiver raises.

        Raises:
            NothingToReplay: there is no such receiver.
        """
        names = [run.receiver for receiver in receivers for run in self.runs_of(receiver)]
        with stage.without_broker():
            replay.replay(self.delivery, receivers=names if receivers else None, actor=ACTOR)
        return self._work(handoffs_of(self.delivery), raises=raises)

    def _retrying(self, named: Sequence[Named]) -> list[ReceiverRun]:
        found = [run for name in named for run in self.runs_of(name)] if named else self.runs
        waits = ReceiverRun.State.RETRYING
        return [run for run in found if run.state == waits and run.next_attempt_at is not None]

    def _work(
        self, handoffs: Sequence[Handoff], *, raises: bool, wait: timedelta = timedelta(0)
    ) -> Outcome:
        self._worker.work(handoffs, wait=wait, raises=raises, about=self)
        return self

    # --- what a test asserts

    def assert_accepted(self) -> None:
        """It was stored now, for the first time."""
        self._check(self.is_accepted and not self.is_duplicate, "it was not accepted")

    def assert_duplicate(self) -> None:
        """It had been stored before."""
        self._check(self.is_duplicate, "it is not a duplicate")

    def assert_rejected(self, code: str | None = None) -> None:
        """It was refused.

        Args:
            code: the ``error`` of the answer, for example ``"signature_mismatch"``.
        """
        self._check(not self.is_accepted, "it was not refused")
        self._check(code in (None, self.answer.get("error")), f"it was not refused with {code!r}")

    def assert_ignored(self) -> None:
        """It was stored, and no receiver is connected to it."""
        ignored = WebhookDelivery.State.IGNORED
        self._check(self.delivery.state == ignored, "it was not ignored")

    def assert_ran(self, receiver: Named) -> None:
        """The receiver ran to its end."""
        for run in self._runs(receiver):
            succeeded = run.state == ReceiverRun.State.SUCCEEDED and not _is_skipped(run)
            self._check(succeeded, f"{run.receiver} did not run to its end: {told(run)}")

    def assert_not_run(self, receiver: Named | None = None) -> None:
        """The receiver was not called; without one: none was."""
        for run in self.runs if receiver is None else self.runs_of(receiver):
            called = attempts(run) and not _is_skipped(run)
            self._check(not called, f"{run.receiver} was called: {told(run)}")

    def assert_skipped(self, receiver: Named) -> None:
        """The receiver was passed over, as a newer event of the resource is stored."""
        for run in self._runs(receiver):
            self._check(_is_skipped(run), f"{run.receiver} was not skipped: {told(run)}")

    def assert_retrying(
        self, receiver: Named, *, seconds: float | None = None, times: int | None = None
    ) -> None:
        """The receiver failed, or raised ``RetryLater``, and will be called again.

        Args:
            receiver: which.
            seconds: so long after its last attempt, give or take one second.
            times: it was called so often.
        """
        for run in self._runs(receiver):
            state, tries = ReceiverRun.State.RETRYING, attempts(run)
            self._check(run.state == state, f"{run.receiver} will not be retried: {told(run)}")
            called = times is None or len(tries) == times
            self._check(called, f"{run.receiver} was not called {times} times: {told(run)}")
            if seconds is not None and run.next_attempt_at is not None:
                wait = (run.next_attempt_at - tries[-1].finished).total_seconds()
                waits = abs(wait - seconds) <= TOLERANCE_SECONDS
                self._check(waits, f"{run.receiver} waits for {wait:.1f} s, not for {seconds:g} s")

    def assert_dead(self, receiver: Named, reason: str = "") -> None:
        """The receiver will not be called again: it gave up, or used up its attempts.

        Args:
            receiver: which.
            reason: text that its last error holds.
        """
        for run in self._runs(receiver):
            is_dead = run.state == ReceiverRun.State.DEAD
            self._check(is_dead, f"{run.receiver} is not dead: {told(run)}")
            said = f"the last error of {run.receiver} does not say {reason!r}: {told(run)}"
            self._check(reason in run.last_error, said)

    def assert_result(self, *, rows: int | None = None, failed_rows: int | None = None) -> None:
        """Its result file was fetched.

        Args:
            rows: with so many rows.
            failed_rows: so many of them without an answer.
        """
        for result in self._results():
            fetched = result.state == ResultFile.State.COMPLETE
            self._check(fetched, "the result file was not fetched")
            found, failed = int(result.rows), result.failed_rows
            self._check(rows in (None, found), f"it has {counted(found, 'row')}, not {rows}")
            told_failed = f"it has {counted(failed, 'row')} that failed, not {failed_rows}"
            self._check(failed_rows in (None, failed), told_failed)

    def assert_result_failed(self, reason: str = "") -> None:
        """Its result file could not be fetched.

        Args:
            reason: text that the error holds.
        """
        for result in self._results():
            failed = result.state == ResultFile.State.FAILED
            self._check(failed, "fetching the result file did not fail")
            self._check(reason in result.error, f"its error does not say {reason!r}")

    def _runs(self, receiver: Named) -> list[ReceiverRun]:
        self._check(self.is_accepted, "it was not accepted")
        found = self.runs_of(receiver)
        named = f"{_shown(receiver)} is not connected to it, or not by that name"
        others = ", ".join(run.receiver for run in self.runs)
        self._check(bool(found), f"{named}; connected: {others}" if others else named)
        return found

    def _results(self) -> list[ResultFile]:
        found = self.results
        self._check(bool(found), "it announces no result file")
        return found

    def _check(self, holds: bool, problem: str) -> None:
        if not holds:
            raise AssertionError(f"{problem}.\n{self}")


def _is_skipped(run: ReceiverRun) -> bool:
    tries = attempts(run)
    return bool(tries) and tries[-1].outcome == Attempt.Outcome.SKIPPED


def _shown(receiver: Named) -> str:
    if isinstance(receiver, str):
        return receiver
    return f"{receiver.__module__}.{getattr(receiver, '__qualname__', receiver)}"
