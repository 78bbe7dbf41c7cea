"""Shows a run: plain lines where the output is no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from example_project.demo.checks import Check
from example_project.demo.facts import Fact, Seen
from gemini_webhooks.models import ResultFile

#: What happens in two processes is seen in either order; lines wait this long to be sorted.
SORTING_SECONDS = 0.3
PLAIN_WIDTH = 110
COLOURS = {
    "registered": "blue",
    "submitted": "blue",
    "delivered": "cyan",
    "verified": "green",
    "duplicate": "yellow",
    "refused": "red",
    "fetched": "magenta",
    "rows stored": "green",
}


class Screen:
    """Everything that is printed."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=PLAIN_WIDTH)
        self.console = console
        self._started = datetime.now(UTC)
        self._shown: set[Fact] = set()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[stage]}", style="dim"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something takes a moment."""
        with self.console.status(what):
            yield

    def heading(self, line: str) -> None:
        """Print a heading."""
        self.console.print()
        self.console.print(Text(line, style="bold"))

    def setting(self, name: str, value: str) -> None:
        """Print one thing that is set up."""
        self.console.print(Text.assemble("  ", (f"{name:<10}", "dim"), value), soft_wrap=True)

    def start_clock(self) -> None:
        """Times are relative to now from here on."""
        self._started = datetime.now(UTC)

    def happened(self, what: str, whose: str, detail: str) -> None:
        """Show what was done just now."""
        self._show([Fact(moment=datetime.now(UTC), what=what, whose=whose, detail=detail)])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep bars of progress at the bottom."""
        with self._progress:
            yield

    def update(self, seen: Seen, *, everything: bool = False) -> None:
        """Show what is new.

        Args:
            seen: what there is.
            everything: also what happened so recently that something before it may be missing.
        """
        until = datetime.now(UTC) - timedelta(seconds=0 if everything else SORTING_SECONDS)
        self._show(fact for fact in seen.facts() if everything or fact.moment <= until)
        for batch in seen.story.batches:
            self._advance(batch.label, seen, batch.resource_id)

    def table(self, checks: Iterable[Check]) -> None:
        """Show what was checked."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for title in ("", "Checked", "Expected", "Seen"):
            table.add_column(title, overflow="fold")
        for check in checks:
            mark = Text("✓", style="green") if check.passed else Text("✗", style="bold red")
            seen = Text(check.seen, style="" if check.passed else "bold red")
            table.add_row(mark, Text(check.what), Text(check.expected), seen)
        self.console.print(Padding.indent(table, 2))

    def log(self, name: str, tail: str) -> None:
        """Show the end of a log."""
        self.heading(f"End of the log of the {name}")
        self.console.print(Text(tail or "(empty)", style="dim"))

    def passed(self, line: str) -> None:
        """Say that all is well."""
        self.console.print()
        self.console.print(Text(line, style="bold green"))

    def failed(self, line: str) -> None:
        """Say what is not."""
        self.console.print()
        self.console.print(Text(line, style="bold red"), soft_wrap=True)

    def panel(self, lines: Iterable[str]) -> None:
        """Show something to keep in view."""
        self.console.print()
        self.console.print(Panel(Text("\n".join(lines)), expand=False, padding=(0, 2)))

    def _show(self, facts: Iterable[Fact]) -> None:
        new = [fact for fact in facts if fact not in self._shown]
        for fact in sorted(new, key=lambda fact: fact.moment):
            self._shown.add(fact)
            seconds = (fact.moment - self._started).total_seconds()
            line = Table.grid(padding=(0, 2, 0, 0))
            for width in (8, 11, 8):
                line.add_column(width=width)
            line.add_column(overflow="fold")
            line.add_row(
                Text(f"{seconds:6.2f} s", style="dim"),
                Text(fact.what, style=COLOURS.get(fact.what, "")),
                Text(fact.whose, style="bold"),
                Text(fact.detail),
            )
            self.console.print(line)

    def _advance(self, label: str, seen: Seen, resource_id: str) -> None:
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(label, total=None, stage="")
        task = self._tasks[label]
        delivery = seen.deliveries.get(resource_id)
        if delivery is None:
            self._progress.update(task, stage="waits for its event")
            return
        result = next(iter(delivery.results.all()), None)
        if result is None or not result.size:
            self._progress.update(task, stage="waits for a worker")
            return
        stage = "is stored" if result.state == ResultFile.State.COMPLETE else "is fetched"
        self._progress.update(task, total=result.size, completed=result.bytes_done, stage=stage)
