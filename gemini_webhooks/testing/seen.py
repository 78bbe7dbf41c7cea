"""What became of a delivery: looked up anew each time, and told in words where a test fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gemini_webhooks import clock, deliveries, events, receivers
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import Attempt, ReceiverRun, ResultFile, WebhookDelivery

#: A receiver, as a test names it: the function, or its name, with or without the module.
Named = str | Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The answer to a delivery, and what is in the database about it.

    Attributes:
        webhook_id: of the delivery.
        event_type: as it was sent.
        status_code: of the HTTP answer; ``None`` for ``signing="trusted"``.
        answer: the JSON of it.
        diagnosis: why it was refused, as the admin shows it; empty if it was not.
        delivery_id: primary key of what is stored; ``None`` if it was refused.
    """

    webhook_id: str
    event_type: str
    status_code: int | None
    answer: dict[str, str]
    diagnosis: str = ""
    delivery_id: int | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether it is stored: now, or before."""
        return self.delivery_id is not None

    @property
    def is_duplicate(self) -> bool:
        """Whether it was stored before."""
        return self.answer.get("status") == "duplicate"

    @property
    def delivery(self) -> WebhookDelivery:
        """The delivery, as it is now.

        Raises:
            AssertionError: it was refused.
        """
        if self.delivery_id is None:
            raise AssertionError(f"there is no delivery.\n{self}")
        return rows(WebhookDelivery).get(pk=self.delivery_id)

    @property
    def runs(self) -> list[ReceiverRun]:
        """One for each of its receivers, as they are now."""
        return list(rows(ReceiverRun).filter(delivery_id=self.delivery_id).order_by("pk"))

    @property
    def results(self) -> list[ResultFile]:
        """Its result file, if it announces one, as it is now."""
        found = rows(ResultFile).filter(delivery_id=self.delivery_id)
        return list(found.order_by("position"))

    def runs_of(self, receiver: Named) -> list[ReceiverRun]:
        """The runs of a receiver: none, one, or two if it is one of ``result_ready`` as well."""
        if not self.is_accepted:
            return []
        if isinstance(receiver, str):
            return [run for run in self.runs if receiver in _names(run.receiver)]
        connected = {known.name for known in self._connected() if _is(known, receiver)}
        return [run for run in self.runs if run.receiver in connected]

    def _connected(self) -> list[receivers.Receiver]:
        event = events.parse(deliveries.stored(self.delivery))
        found = receivers.matching(event, WebhookDelivery)
        return found + receivers.awaiting_result(event, WebhookDelivery)

    def __str__(self) -> str:
        """All of it in words."""
        answered = "stored without HTTP" if self.status_code is None else str(self.status_code)
        said = self.answer.get("status") or self.answer.get("error", "")
        first = f"{self.event_type} {self.webhook_id}: {answered} {said}".rstrip()
        if not self.is_accepted:
            return f"{first}: {self.diagnosis}" if self.diagnosis else first
        state = self.delivery.state
        lines = [f"{first}, {state}"]
        lines += [f"  {run.receiver}: {told(run)}" for run in self.runs]
        lines += [f"  result file {result.source_uri}: {_told(result)}" for result in self.results]
        if state == WebhookDelivery.State.RECEIVED:
            lines.append("  its receivers have not been looked for yet: call run()")
        elif not self.runs:
            lines.append("  no receiver is connected to it")
        return "\n".join(lines)


def told(run: ReceiverRun) -> str:
    """How far a run is, in words."""
    words = [run.state]
    tries = attempts(run)
    if tries and tries[-1].outcome == Attempt.Outcome.SKIPPED:
        words = ["skipped, as a newer event of the resource is stored"]
    never = not tries and run.state == ReceiverRun.State.DEAD
    words.append("never called" if never else counted(len(tries), "attempt"))
    if run.held_at is not None:
        words.append("held by a pause")
    elif run.parked_at is not None:
        words.append("waits for a place in its lane")
    elif run.state == ReceiverRun.State.RETRYING and run.next_attempt_at:
        wait = (run.next_attempt_at - clock.now()).total_seconds()
        words.append(f"again in {max(wait, 0):.0f} s")
    elif run.result_id is not None and run.state == ReceiverRun.State.PENDING:
        words.append("waits for the result file")
    return ", ".join(words) + (f": {run.last_error}" if run.last_error else "")


def counted(number: int, thing: str) -> str:
    """As in “1 row” and “2 rows”."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def attempts(run: ReceiverRun) -> list[Attempt]:
    """The attempts of a run, the first one first."""
    return list(rows(Attempt).filter(run=run).order_by("number"))


def _told(result: ResultFile) -> str:
    if result.state == ResultFile.State.PENDING:
        return "not fetched: the test gave none of rows=, result= and result_error="
    found = f"{result.state}, {counted(int(result.rows), 'row')}"
    return f"{found}: {result.error}" if result.error else found


def _names(name: str) -> set[str]:
    """What a run's receiver may be called: in full, without its prefix, without its module."""
    bare = name.removeprefix(receivers.RESULT_PREFIX)
    return {name, bare, bare.rpartition(".")[2]}


def _is(known: receivers.Receiver, wanted: Callable[..., Any]) -> bool:
    connected = known.function
    if isinstance(connected, receivers.Subscription):
        return bool(connected.function == wanted)
    return bool(connected == wanted)
