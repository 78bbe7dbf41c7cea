"""Which processes belong to what, and the CPU time that they have spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import cpu_of

#: Parts by name; found anew each time, as backends come and go.
Parts = Mapping[str, Callable[[], list[int]]]


def children(pid: int) -> list[int]:
    """Of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def backends(database: str) -> list[int]:
    """PostgreSQL's processes for one database, and the one that writes the log."""
    return [
        pid
        for pid, words in _commands()
        if words.startswith("postgres: ") and (f" {database} " in words or "walwriter" in words)
    ]


def broker() -> list[int]:
    """RabbitMQ's.

    Raises:
        SystemExit: it is not on this machine.
    """
    found = [pid for pid, words in _commands() if "beam.smp" in words and "rabbit" in words]
    if not found:
        raise SystemExit("RabbitMQ does not run on this machine, where its CPU time can be read")
    return found


def _commands() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        yield int(folder.name), words


@dataclass(frozen=True, kw_only=True)
class Reading:
    """CPU seconds of each process of each part."""

    spent: Mapping[str, Mapping[int, float]]

    def since(self, before: Reading) -> dict[str, float]:
        """CPU seconds by part; a process that was not there before counts from its start."""
        return {
            part: sum(now - before.spent[part].get(pid, 0.0) for pid, now in processes.items())
            for part, processes in self.spent.items()
        }


def read(parts: Parts) -> Reading:
    """What all parts have spent until now."""
    return Reading(spent={part: _spent(find()) for part, find in parts.items()})


def _spent(pids: list[int]) -> dict[int, float]:
    found = {}
    for pid in pids:
        try:
            found[pid] = cpu_of([pid])
        except OSError:  # it has ended
            continue
    return found
