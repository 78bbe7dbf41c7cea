"""The course of an upgrade: migrate first, then change one process after the other."""

from __future__ import annotations

import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos import events, verdict
from chaos.experiment import remove, sealed, settle
from chaos.options import Options
from chaos.processes import Service
from chaos.sender import Book, Sender
from chaos.servers import Postgres
from chaos.stack import Servers, servers_running
from chaos.upgrade import filling, versions
from chaos.upgrade.locks import Locks
from chaos.upgrade.options import UpgradeOptions
from chaos.upgrade.report import Phase, Report

Say = Callable[[str], None]
#: A worker ends what it has in hand first; the slow receiver takes up to two leases.
STOP_SECONDS = 60
#: The old version alone, on the new tables, four changes: each has its part of the time, and as the
#: changes take a while, this is the least that is left for what comes after them.
PARTS, LEAST_SECONDS = 6, 1
UNTOUCHED = """
SELECT (SELECT count(*) FROM gemini_webhooks_webhookdelivery
        WHERE id <= %(rows)s AND state = 'processed' AND duplicate_count = 0),
    (SELECT count(*) FROM gemini_webhooks_receiverrun
        WHERE id <= %(rows)s AND state = 'succeeded' AND attempts = 1),
    (SELECT count(*) FROM gemini_webhooks_attempt
        WHERE id <= %(rows)s AND run_id = id AND outcome = 'succeeded'),
    (SELECT count(*) FROM gemini_webhooks_job
        WHERE id <= %(rows)s AND delivery_id = id AND state = 'succeeded')
"""


def run(options: UpgradeOptions, say: Say) -> Report:
    """Try the upgrade.

    Raises:
        ChaosError: the experiment itself failed.
    """
    versions.commit(options.old)
    started = time.monotonic()

    def tell(line: str) -> None:
        say(f"{time.monotonic() - started:7.1f} s  {line}")

    folder = Path(tempfile.mkdtemp(prefix="gemini-upgrade-"))
    site = Options(
        events=options.events, seconds=options.seconds, seed=options.seed, patience=options.patience
    )
    try:
        with servers_running(site, folder) as servers:
            tell(f"the servers run; seed {options.seed}, logs in {folder}/logs")
            (folder / "calm").touch()  # Google's side has no bad moments here
            old, new = (
                _version(servers, revision, name)
                for revision, name in ((options.old, "old"), (options.new, "new"))
            )
            return _upgrade(options, old, new, tell)
    finally:
        if not options.keep:
            remove(folder)


def _version(servers: Servers, revision: str | None, name: str) -> Servers:
    code = versions.export(revision, servers.scratch / name)
    version = servers.with_code(code)
    versions.check(version.processes, version.environment, code)
    return version


def _upgrade(options: UpgradeOptions, old: Servers, new: Servers, tell: Say) -> Report:
    old.migrate()
    tell(f"the tables of {options.old} are there; filling them with {options.rows} rows each")
    _fill(old.postgres, options.rows)
    new.start_google()
    site = _Site(old)
    tell("everything runs, in the old version")
    sent = events.make(options.events, options.seed, sealed(new))
    with Sender(
        sent, new.signer, new.web_port, seconds=options.seconds, seed=options.seed
    ) as sender:
        phases = _Phases(sender.book, tell)
        part = _Parts(options.seconds / PARTS)
        with phases.phase("old version"):
            part.end()
        with Locks(old.postgres) as locks, phases.phase("migration, old version runs"):
            new.migrate()
        with phases.phase("old version on the new tables"):
            part.end()
        for name, change in site.changes(new):
            with phases.phase(f"{name} is changed"):
                change()
            with phases.phase(f"{name} is new"):
                part.end()
        tell(f"all is new; {sender.open} events have still to be sent")
        changed = time.monotonic()
        settled = settle(new, sender, tell)
    with new.postgres.connect() as connection:
        found = verdict.look(connection, new.disk, after=options.rows)
        untouched = connection.execute(UNTOUCHED, {"rows": options.rows}).fetchone()
    return Report(
        options=options,
        events=len(sent),
        phases=phases.done,
        app_waits=locks.app,
        migration_waits=locks.migration,
        book=sender.book,
        found=found,
        verdict=verdict.judge(sent, sender.book, found, options.seed),
        changed_rows=sum(options.rows - count for count in untouched or ()),
        restarts=sum(new.processes.restarts().values()),
        settle_seconds=round(settled - changed, 1) if settled else None,
    )


def _fill(postgres: Postgres, rows: int) -> None:
    with postgres.connect() as connection, connection.cursor() as cursor:
        filling.fill(cursor, "postgres", "public", rows)


class _Site:
    """The processes of the site, all in one version at first."""

    def __init__(self, old: Servers) -> None:
        self._workers = [old.start_worker(f"worker-{name}-old") for name in "ab"]
        self._beat = old.start_beat("beat-old")
        self._web = old.start_web("web-old")

    def changes(self, new: Servers) -> list[tuple[str, Callable[[], None]]]:
        """Each change of a process, in its order; they are made by calling them."""
        first, second = self._workers
        return [
            ("one worker", lambda: _change(new, first, lambda: new.start_worker("worker-a-new"))),
            ("web", lambda: _change(new, self._web, lambda: new.start_web("web-new"))),
            (
                "other worker",
                lambda: _change(new, second, lambda: new.start_worker("worker-b-new")),
            ),
            ("beat", lambda: _change(new, self._beat, lambda: new.start_beat("beat-new"))),
        ]


def _change(new: Servers, service: Service, start: Callable[[], Service]) -> None:
    new.processes.stop(service, signal.SIGTERM, seconds=STOP_SECONDS)
    start()


class _Parts:
    """Divides the time, so that events come in until the end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def end(self) -> None:
        """Wait until the current part is over."""
        time.sleep(max(LEAST_SECONDS, self._next - time.monotonic()))
        self._next += self._seconds


class _Phases:
    """Notes what the sender saw in each part of the course."""

    def __init__(self, book: Book, tell: Say) -> None:
        self.done: list[Phase] = []
        self._book = book
        self._tell = tell

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note one part."""
        self._tell(name)
        start, before = time.monotonic(), Counter(self._book.statuses)
        yield
        end = time.monotonic()
        answers = list(zip(self._book.ends, self._book.seconds, strict=False))
        # Whatever was under way in it, if only for a part.
        took = [seconds for at, seconds in answers if at >= start and at - seconds <= end]
        statuses = Counter(self._book.statuses)
        statuses.subtract(before)
        self.done.append(
            Phase(name=name, seconds=end - start, statuses=+statuses, longest=max(took, default=0))
        )
