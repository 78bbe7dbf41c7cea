"""Which processes belong to what, and the CPU time that they have spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks.harness import TICKS, cpu_of

#: CPU seconds until now, by the name of the part.
Parts = Mapping[str, Callable[[], float]]


def children(pid: int) -> list[int]:
    """Of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def cpu(pids: Iterable[int]) -> float:
    """Seconds that processes have spent; who has ended counts for nothing."""
    return sum(_cpu(pid) for pid in pids)


def database(name: str) -> float:
    """Seconds of PostgreSQL for one database.

    Celery closes the connection after each task, so a process may live for one task only. The CPU
    time of those that have ended is their parent's, with that of other databases' processes.

    Raises:
        SystemExit: the server is not on this machine.
    """
    live = [
        pid
        for pid, words in _commands()
        if words.startswith("postgres: ") and (f" {name} " in words or "walwriter" in words)
    ]
    parents = [pid for pid, words in _commands() if "bin/postgres " in words]
    if not parents:
        raise SystemExit("PostgreSQL does not run on this machine, where its CPU time can be read")
    return cpu(live) + sum(_of_ended_children(pid) for pid in parents)


def broker() -> float:
    """Seconds of RabbitMQ.

    Raises:
        SystemExit: it is not on this machine.
    """
    found = [pid for pid, words in _commands() if "beam.smp" in words and "rabbit" in words]
    if not found:
        raise SystemExit("RabbitMQ does not run on this machine, where its CPU time can be read")
    return cpu(found)


def busy() -> float:
    """CPU seconds of all cores that were not idle; what the host took from us is among them."""
    user, nice, system, _, _, irq, softirq, steal, *_ = (
        int(number) for number in Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS


def read(parts: Parts) -> dict[str, float]:
    """CPU seconds of all parts until now."""
    return {name: seconds() for name, seconds in parts.items()}


def since(before: Mapping[str, float], parts: Parts) -> dict[str, float]:
    """CPU seconds of all parts since ``before``."""
    return {name: now - before[name] for name, now in read(parts).items()}


def _cpu(pid: int) -> float:
    try:
        return cpu_of([pid])
    except OSError:  # it has ended
        return 0.0


def _of_ended_children(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS


def _commands() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        yield int(folder.name), words
