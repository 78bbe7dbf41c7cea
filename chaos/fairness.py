"""What a limit per tenant is good for: one tenant's burst, and how long the others wait.

``python -m chaos.fairness``, or ``make fairness``. The same burst comes in twice, first for a
receiver without a limit, then for one with; everything else is equal.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from chaos import servers, terminal
from chaos.events import Event
from chaos.experiment import remove, settle
from chaos.options import CROWDED_SECONDS, PER_TENANT, Options
from chaos.processes import ChaosError
from chaos.sender import Sender
from chaos.stack import Stack, running

Say = Callable[[str], None]
#: Who has the burst, and who has not.
BIG, SMALL = "big", ("ant", "bee", "cat")
WAITED = """
SELECT d.user_metadata ->> 'tenant' = %(big)s, extract(epoch FROM e.at - d.received_at)::float8
    FROM gemini_webhooks_webhookdelivery d
    JOIN chaos_effect e ON e.webhook_id = d.webhook_id
    WHERE d.webhook_id = ANY(%(ids)s)
"""
MOST_AT_ONCE = """
WITH tried AS (
    SELECT a.started, a.finished FROM gemini_webhooks_attempt a
        JOIN gemini_webhooks_receiverrun r ON r.id = a.run_id
        JOIN gemini_webhooks_webhookdelivery d ON d.id = r.delivery_id
        WHERE d.webhook_id = ANY(%(ids)s) AND d.user_metadata ->> 'tenant' = %(big)s
)
SELECT max((SELECT count(*) FROM tried other
    WHERE other.started <= one.started AND other.finished > one.started)) FROM tried one
"""


@dataclass(frozen=True, kw_only=True)
class FairnessOptions:
    """All that can be set.

    Attributes:
        burst: how many events of one tenant come at the same moment.
        trickle: how many come of each of the others, one after the other.
        seconds: over which the trickle is spread.
        seed: of the sender's choices.
    """

    burst: int = 400
    trickle: int = 25
    seconds: float = 15
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One of the two parts.

    Attributes:
        big, small: seconds from receipt to effect, of the burst and of the others' events.
        at_once: the most of the big tenant's runs that were executed at the same time.
    """

    big: Sequence[float] = field(repr=False)
    small: Sequence[float] = field(repr=False)
    at_once: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """Both parts, and what was to be shown."""

    options: FairnessOptions
    unlimited: Measured
    limited: Measured

    @property
    def good(self) -> bool:
        """Whether nothing is missing, the limit held, and the others waited less."""
        whole = all(
            len(part.big) == self.options.burst
            and len(part.small) == self.options.trickle * len(SMALL)
            for part in (self.unlimited, self.limited)
        )
        less = median(self.limited.small) < median(self.unlimited.small)
        return whole and less and self.limited.at_once <= PER_TENANT < self.unlimited.at_once

    def lines(self) -> list[str]:
        """For people."""
        head = "Seconds from receipt to effect"
        lines = [f"{head:<44}{'events':>7}{'median':>9}{'95 %':>8}{'longest':>9}"]
        limit = f"at most {PER_TENANT} at once per tenant"
        for name, part in (("without limit", self.unlimited), (limit, self.limited)):
            for who, waited in (("the burst", part.big), ("the other tenants", part.small)):
                spread = _spread(waited)
                cells = f"{spread['median']:>9.2f}{spread['p95']:>8.2f}{spread['max']:>9.2f}"
                lines.append(f"{name + ': ' + who:<44}{len(waited):>7}{cells}")
        most = f"{self.unlimited.at_once} without limit, {self.limited.at_once} with"
        verdict = "It is fair." if self.good else "FAILED."
        return [*lines, "", f"Most of the burst at once: {most}.", verdict]

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        parts = {"unlimited": self.unlimited, "limited": self.limited}
        return {
            "good": self.good,
            **{
                name: {
                    "big": _spread(part.big),
                    "small": _spread(part.small),
                    "at_once": part.at_once,
                }
                for name, part in parts.items()
            },
        }


def run(options: FairnessOptions, say: Say) -> Report:
    """Measure both parts.

    Raises:
        ChaosError: the experiment itself failed.
    """
    folder = Path(tempfile.mkdtemp(prefix="gemini-fairness-"))
    try:
        with running(Options(seed=options.seed), folder) as stack:
            (stack.scratch / "calm").touch()
            # The first message to each worker process costs more than others.
            _measure(stack, options=FairnessOptions(burst=40, trickle=1, seconds=1), name="warm")
            say(f"{options.burst} events at once, {CROWDED_SECONDS:g} s each, without limit")
            unlimited = _measure(stack, options=options, name="crowded")
            say(f"the same, at most {PER_TENANT} at once per tenant")
            limited = _measure(stack, options=options, name="fair")
            return Report(options=options, unlimited=unlimited, limited=limited)
    finally:
        remove(folder)


def _measure(stack: Stack, *, options: FairnessOptions, name: str) -> Measured:
    receiver = "fair" if name == "fair" else "crowded"
    burst = [_event(name, receiver, BIG, number) for number in range(options.burst)]
    small = [
        _event(name, receiver, tenant, number)
        for number in range(options.trickle)
        for tenant in SMALL
    ]
    port, seed = stack.web_port, options.seed
    with (
        Sender(burst, stack.signer, port, seconds=0, seed=seed) as first,
        Sender(small, stack.signer, port, seconds=options.seconds, seed=seed) as second,
    ):
        while first.open or second.open:
            time.sleep(0.05)
        if settle(stack, second, lambda _: None) is None:
            raise ChaosError("the events are not processed")
    with stack.postgres.connect() as connection:
        return _read(connection, [event.id for event in burst + small])


def _read(connection: psycopg.Connection, ids: Sequence[str]) -> Measured:
    given = {"big": BIG, "ids": ids}
    waited = connection.execute(WAITED, given).fetchall()
    at_once = connection.execute(MOST_AT_ONCE, given).fetchone()
    return Measured(
        big=[seconds for is_big, seconds in waited if is_big],
        small=[seconds for is_big, seconds in waited if not is_big],
        at_once=int(at_once[0]) if at_once else 0,
    )


def _event(part: str, receiver: str, tenant: str, number: int) -> Event:
    body = {
        "type": "video.generated",
        "version": "v1",
        "timestamp": "2026-11-25T12:00:00Z",
        "data": {
            "id": f"{part}-{tenant}-{number}",
            "user_metadata": {"tenant": tenant, "receiver": receiver},
        },
    }
    return Event(
        id=f"msg_{part}_{tenant}_{number}", type="video.generated", body=json.dumps(body).encode()
    )


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "events": len(ordered),
        "median": round(median(ordered), 3),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
        "max": round(ordered[-1], 3),
    }


def main() -> int:
    """Run, print, and say by the exit code how it went: 0 fair, 1 not so, 2 not run."""
    usual = FairnessOptions()
    parser = argparse.ArgumentParser(
        prog="python -m chaos.fairness",
        description="One tenant has a burst: how long do the others wait, without and with limit?",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--burst", type=int, default=usual.burst, help="events of one tenant at once")
    add("--trickle", type=int, default=usual.trickle, help="events of each other tenant")
    add("--seconds", type=float, default=usual.seconds, help="over which those are spread")
    add("--seed", type=int, help="of the sender (random)")
    add("--json", type=Path, metavar="FILE", help="write the report there as well")
    given: dict[str, Any] = vars(parser.parse_args())
    if given["seed"] is None:
        given["seed"] = random.SystemRandom().randrange(10_000)
    options = FairnessOptions(**{each.name: given[each.name] for each in fields(FairnessOptions)})
    if reason := servers.missing(broker="amqp"):
        return terminal.complain(reason)
    return terminal.tell(lambda say: run(options, say), given["json"])


if __name__ == "__main__":
    sys.exit(main())
