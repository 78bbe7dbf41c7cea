"""The course of a run: start, send and break, mend, wait, look."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from chaos import events, verdict
from chaos.faults import Faults, Injected
from chaos.options import Options
from chaos.report import Report
from chaos.sender import Book, Sender
from chaos.stack import Servers, Stack, running

TENANTS = 5
LOOK_SECONDS = 0.25
FRESH = 20
#: What the app logs when a worker comes too late.
TURNED_AWAY = "taken over by another worker"


def run(options: Options, say: Callable[[str], None]) -> Report:
    """Run the experiment.

    Raises:
        ChaosError: the experiment itself failed.
    """
    started = time.monotonic()

    def tell(line: str) -> None:
        say(f"{time.monotonic() - started:7.1f} s  {line}")

    folder = tempfile.mkdtemp(prefix="gemini-chaos-")
    try:
        with running(options, Path(folder)) as stack:
            tell(f"everything runs; seed {options.seed}, logs in {stack.scratch}/logs")
            return _experiment(stack, tell)
    finally:
        if not options.keep:
            remove(Path(folder))


def _experiment(stack: Stack, tell: Callable[[str], None]) -> Report:
    options = stack.options
    sent = events.make(options.events, options.seed, sealed(stack))
    faults = Faults(stack=stack, report=tell)
    sender = Sender(sent, stack.signer, stack.web_port, seconds=options.seconds, seed=options.seed)
    with sender, _Watch(stack, sender, faults.injected):
        over = time.monotonic() + options.seconds
        faults.inject_until(lambda: time.monotonic() > over)
        faults.heal()
        (stack.scratch / "calm").touch()
        healed = time.monotonic()
        tell(f"no more faults; {sender.open} events have still to be sent")
        settled = settle(stack, sender, tell)
    fresh, fresh_seconds = _fresh(stack, sender.book, tell) if settled else ([], None)
    sent += fresh
    with stack.postgres.connect() as connection:
        found = verdict.look(connection, stack.disk)
    return Report(
        options=options,
        events=len(sent),
        kinds=faults.kinds,
        injected=faults.injected,
        book=sender.book,
        found=found,
        verdict=verdict.judge(sent, sender.book, found, options.seed),
        fresh_seconds=fresh_seconds,
        settle_seconds=round(settled - healed, 1) if settled else None,
        restarts=stack.processes.restarts(),
        turned_away=sum(
            (stack.processes.logs / f"{worker.name}.log").read_text().count(TURNED_AWAY)
            for worker in stack.workers
        ),
    )


def sealed(stack: Servers) -> Sequence[Mapping[str, Any]]:
    """Metadata as the site itself would send it along with a job."""
    from django.conf import settings  # noqa: PLC0415  # configured here

    from gemini_webhooks.seals import seal_metadata  # noqa: PLC0415  # needs settings

    if not settings.configured:
        settings.configure(SECRET_KEY=stack.config["secret_key"])
    return [seal_metadata({"tenant": f"t{number}"}, endpoint="") for number in range(TENANTS)]


def settle(stack: Servers, sender: Sender, tell: Callable[[str], None]) -> float | None:
    """Wait until nothing is left to do; the monotonic time of that, ``None`` if nothing moves."""
    seen: object = None
    moved = shown = time.monotonic()
    while True:
        now = time.monotonic()
        with suppress(psycopg.Error), stack.postgres.connect() as connection:
            left = (sender.open, *verdict.open_rows(connection), newest_effect(connection))
            if not any(left[:4]):
                return now
            if left != seen:
                seen, moved = left, now
            if now - shown > 5:
                shown = now
                counts = "{} to send, {} deliveries, {} runs, {} results".format(*left[:4])
                tell(f"waiting for {counts}")
        if now - moved > stack.options.patience:
            tell(f"nothing has moved for {stack.options.patience:g} s")
            return None
        time.sleep(LOOK_SECONDS)


def _fresh(
    stack: Stack, book: Book, tell: Callable[[str], None]
) -> tuple[list[events.Event], float | None]:
    """Send a few more: they have to be handed off again, not to wait for the sweep."""
    seed = stack.options.seed
    simple = [e for e in events.make(100, seed + 1, [{}]) if e.type == "interaction.completed"]
    sent = [event for event in simple if event.binding is None][:FRESH]
    started = time.monotonic()
    with Sender(sent, stack.signer, stack.web_port, seconds=0, seed=seed, book=book) as sender:
        settled = settle(stack, sender, tell)
    return sent, round(settled - started, 1) if settled else None


def newest_effect(connection: psycopg.Connection) -> int:
    """Of all that receivers wrote, the last."""
    row = connection.execute("SELECT max(id) FROM chaos_effect").fetchone()
    return int(row[0] or 0) if row else 0


class _Watch:
    """Notes when, after each fault, events were taken and processed again."""

    def __init__(self, stack: Stack, sender: Sender, injected: Sequence[Injected]) -> None:
        self._stack = stack
        self._sender = sender
        self._injected = injected
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        newest = 0
        while not self._ended.wait(LOOK_SECONDS):
            with suppress(psycopg.Error), self._stack.postgres.connect() as connection:
                while not self._ended.wait(LOOK_SECONDS):
                    effect = newest_effect(connection)
                    self._note(moved=effect > newest)
                    newest = effect

    def _note(self, *, moved: bool) -> None:
        for fault in self._injected:
            if not fault.healed:
                continue
            answered = self._sender.book.answered_at
            if fault.accepted is None and answered > fault.healed:
                fault.accepted = answered
            if fault.effect is None and moved:
                fault.effect = time.monotonic()


def remove(folder: Path) -> None:
    """Remove what a run left on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
