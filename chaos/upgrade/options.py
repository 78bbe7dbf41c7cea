"""How an upgrade is to be tried."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chaos.upgrade.filling import Database


@dataclass(frozen=True, kw_only=True)
class UpgradeOptions:
    """All that can be set.

    Attributes:
        old: git revision of the version before.
        new: git revision of the version after; ``None``: the working tree.
        rows: deliveries, runs, attempts and jobs that are there before.
        events: how many the sender has to deliver.
        seconds: the events are spread over this time, and so are the steps of the upgrade.
        seed: of the events and the sender's choices.
        patience: seconds without any progress after which what is open is taken for stuck.
        bare: no site: only how long INSERTs wait on this database while it is migrated.
        json: where the report goes as JSON.
        keep: leave logs and databases' folders where they are.
    """

    old: str
    new: str | None = None
    rows: int = 100_000
    events: int = 2000
    seconds: float = 120
    seed: int = 1
    patience: float = 60
    bare: Database | None = None
    json: Path | None = None
    keep: bool = False

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }
