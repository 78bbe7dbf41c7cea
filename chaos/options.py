"""How a run is to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Broker = Literal["amqp", "redis"]

#: In the experiment of fairness: how long a receiver takes, and how many there may be at once.
CROWDED_SECONDS, PER_TENANT = 0.25, 4


@dataclass(frozen=True, kw_only=True)
class Options:
    """All that can be set.

    Attributes:
        events: how many the sender has to deliver.
        seconds: for so long faults are injected, while the events are spread over that time.
        seed: of the faults, the events and the sender's choices.
        broker: what Celery talks to.
        scale: factor on the app's own times (leases, graces, cool-downs, the sweep); 1 leaves
            them as they are.
        pause: seconds between two faults, on average.
        only: kinds of faults; empty means all.
        patience: seconds without any progress after which what is open is taken for stuck.
        json: where the report goes as JSON.
        sabotage: break the app itself, to see that the experiment notices.
        keep: leave logs and databases' folders where they are.
    """

    events: int = 2000
    seconds: float = 120
    seed: int = 1
    broker: Broker = "amqp"
    scale: float = 0.1
    pause: float = 1.0
    only: tuple[str, ...] = field(default=())
    patience: float = 60
    json: Path | None = None
    sabotage: bool = False
    keep: bool = False
