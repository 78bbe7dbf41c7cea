"""What things cost, as ``python -m benchmarks.costs`` measures it; the file between the two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "costs.json"


@dataclass(frozen=True, kw_only=True)
class Request:
    """CPU of one request, in microseconds.

    Attributes:
        generator: of the program that sends it.
        web: of the web process, without messages that its hand-off thread sends.
        database: of the database's processes.
        broker: of the broker, to take what the view itself sends.
        messages: that the view itself sends; their cost is part of ``web``.
        is_packed: whether a thread sends them later, several deliveries in one.
    """

    generator: float
    web: float
    database: float
    broker: float = 0.0
    messages: int = 0
    is_packed: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one delivery, or one message, has a worker do at the database.

    Attributes:
        round_trips: statements, with BEGIN and COMMIT.
        commits: of these, those that wait for the disk.
    """

    round_trips: float
    commits: float


@dataclass(frozen=True, kw_only=True)
class Work:
    """What handling one delivery costs; CPU in microseconds.

    Attributes:
        child: CPU of the worker's child processes, if all its receivers run where it is planned.
        database: CPU of the database's processes, likewise.
        message_child: of the child, in addition for each message.
        message_database: of the database, in addition for each message.
        main: CPU of the worker's main process for one message.
        runs: receivers of one delivery.
        plan: to take one delivery into processing.
        inline: one run where it is planned.
        alone: one run for which a message was sent.
    """

    child: float
    database: float
    message_child: float
    message_database: float
    main: float
    runs: int
    plan: Step
    inline: Step
    alone: Step

    @property
    def round_trips(self) -> float:
        """Of one delivery whose receivers all run where it is planned."""
        return self.plan.round_trips + self.runs * self.inline.round_trips

    @property
    def commits(self) -> float:
        """Of these, those that wait for the disk."""
        return self.plan.commits + self.runs * self.inline.commits


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Numbers that the app goes by; times in microseconds.

    Attributes:
        gather: how long the hand-off thread waits for more.
        busy_gather: how long after it found ``many``, or ``still_many`` in this time.
        pack: deliveries in one message at most.
        budget: so long after a worker has taken a message, it begins no run because of it.
    """

    gather: float
    busy_gather: float
    many: int
    still_many: int
    pack: int
    budget: float


@dataclass(frozen=True, kw_only=True)
class Servers:
    """What the servers take, in microseconds.

    Attributes:
        hop: from asking to having the answer, beside the CPU time of both sides.
        flush: until the disk has a commit.
        publish: CPU of the broker to take one message.
        deliver: CPU of the broker to give it to a worker, and take the acknowledgement.
        send: CPU of a web process to send one message.
        pool: how long a child waits for its next task, beside the CPU time of its main process.
        waking: no time, but the share of the cores' time in which they are idle though there is
            always something to do: threads and processes take a moment to be woken.
    """

    hop: float
    flush: float
    publish: float
    deliver: float
    send: float
    pool: float
    waking: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of one delivery.

    Attributes:
        wal_received: write-ahead log of its receipt.
        wal_handled: of its handling with one receiver, the receiver's own row included.
        delivery: table and indexes of its row.
        run: of the row of one run.
        attempt: of the row of one attempt.
        message: one message with as many deliveries as go into it.
    """

    wal_received: float
    wal_handled: float
    delivery: float
    run: float
    attempt: float
    message: float


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Everything, and where it was measured."""

    measured_on: str
    requests: Mapping[str, Request]
    work: Mapping[str, Work]
    rules: Rules
    servers: Servers
    sizes: Sizes

    def save(self, file: Path = FILE) -> None:
        """Write them down, rounded to what is worth telling."""
        file.write_text(json.dumps(_rounded(asdict(self)), indent=2) + "\n")


def load(file: Path = FILE) -> Costs:
    """What was measured last."""
    found: dict[str, Any] = json.loads(file.read_text())
    return Costs(
        measured_on=found["measured_on"],
        requests={name: Request(**one) for name, one in found["requests"].items()},
        work={name: _work(one) for name, one in found["work"].items()},
        rules=Rules(**found["rules"]),
        servers=Servers(**found["servers"]),
        sizes=Sizes(**found["sizes"]),
    )


def _work(found: dict[str, Any]) -> Work:
    plan, inline, alone = (Step(**found.pop(name)) for name in ("plan", "inline", "alone"))
    return Work(**found, plan=plan, inline=inline, alone=alone)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return round(value, 2) if isinstance(value, float) else value
