"""What is in the database at the end, compared with what the sender knows.

Read with SQL of its own, not through the app, which is what is on trial.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from google_crc32c import Checksum

from chaos.events import EXPECTED, Event, result_checksum
from chaos.sender import Book

OPEN = """
SELECT
    (SELECT count(*) FROM gemini_webhooks_webhookdelivery
        WHERE state IN ('received', 'processing')),
    (SELECT count(*) FROM gemini_webhooks_receiverrun
        WHERE state IN ('pending', 'running', 'retrying')),
    (SELECT count(*) FROM gemini_webhooks_resultfile
        WHERE state IN ('pending', 'fetching', 'retrying'))
"""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A row of the app's."""

    webhook_id: str
    state: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """A result file: what its row says, and what lies on the disk."""

    webhook_id: str
    state: str
    size: int
    crc32c: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that was found at the end.

    Attributes:
        effects: ``(webhook id, receiver)`` of each row that a receiver wrote.
        runs: ``(state, receiver)``, counted.
        attempts: outcomes of all attempts, counted.
        files: names in the storage, relative to it.
        parts: files for unfinished downloads.
        calls: how often the receiver without a transaction was called.
    """

    deliveries: Sequence[Delivery] = ()
    effects: Sequence[tuple[str, str]] = ()
    runs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    results: Sequence[Result] = ()
    files: Iterable[str] = ()
    parts: Iterable[str] = ()
    calls: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Each broken promise, by its name, with some of the cases; empty lists are promises kept.

    Attributes:
        lost: got a 2xx, but there is no delivery or an effect is missing.
        doubled: more than one delivery, or an effect that is there twice.
        stuck: neither done nor failed although everything runs again.
        dead: given up without a cause.
        owed: the sender never got a 2xx.
        refused: an event of Google's that the site did not believe.
        broken: a body or result file that is not what was sent.
        erred: the site answered 500 where it should have said 503.
        litter: files that nothing refers to.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    owed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    erred: list[str] = field(default_factory=list)
    litter: list[str] = field(default_factory=list)

    #: Shown, but no event is harmed by it.
    SHOWN = frozenset({"litter"})

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not any(cases for name, cases in vars(self).items() if name not in self.SHOWN)


def open_rows(connection: psycopg.Connection) -> tuple[int, int, int]:
    """How many deliveries, runs and result files are not done."""
    row = connection.execute(OPEN).fetchone()
    return (row[0], row[1], row[2]) if row else (0, 0, 0)


def look(connection: psycopg.Connection, disk: Path, *, after: int = 0) -> Found:
    """Read all that was written, but for rows of the app that were there before.

    Args:
        connection: to the site's database.
        disk: where part files and results are.
        after: the greatest id of what was there before.
    """
    rows = connection.execute
    deliveries = rows(
        "SELECT webhook_id, state, body FROM gemini_webhooks_webhookdelivery WHERE id > %s", [after]
    )
    results = rows(
        "SELECT d.webhook_id, r.state, r.file FROM gemini_webhooks_resultfile r"
        " JOIN gemini_webhooks_webhookdelivery d ON d.id = r.delivery_id"
    )
    media = disk / "media"
    outside = rows("SELECT split_part(key, '/', 1), split_part(key, '/', 2) FROM chaos_keyed")
    effects = rows("SELECT webhook_id, receiver FROM chaos_effect")
    return Found(
        deliveries=[
            Delivery(webhook_id=row[0], state=row[1], digest=hashlib.sha256(row[2]).hexdigest())
            for row in deliveries
        ],
        effects=[(row[0], row[1]) for row in (*effects, *outside)],
        runs={
            (row[0], row[1]): row[2]
            for row in rows(
                "SELECT state, receiver, count(*) FROM gemini_webhooks_receiverrun WHERE id > %s"
                " GROUP BY 1, 2",
                [after],
            )
        },
        attempts=dict(
            _pairs(
                rows(
                    "SELECT outcome, count(*) FROM gemini_webhooks_attempt WHERE id > %s"
                    " GROUP BY 1",
                    [after],
                )
            )
        ),
        results=[_result(media, *row) for row in results],
        files=[str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()],
        parts=[path.name for path in (disk / "tmp").rglob("*.part")],
        calls=_first(rows("SELECT count(*) FROM chaos_call")),
    )


def judge(events: Sequence[Event], book: Book, found: Found, seed: int) -> Verdict:
    """Compare what was sent with what was found."""
    verdict = Verdict()
    verdict.owed.extend(event.id for event in events if event.id not in book.answered)
    verdict.refused.extend(f"{count} × HTTP {status}" for status, count in book.refused.items())
    if errors := book.statuses[500]:
        verdict.erred.append(f"{errors} × HTTP 500")
    _judge_deliveries(verdict, events, book, found)
    _judge_effects(verdict, events, book, found)
    for (state, receiver), count in found.runs.items():
        if state == "dead":
            verdict.dead.append(f"{count} runs of {receiver}")
        elif state != "succeeded":
            verdict.stuck.append(f"{count} runs of {receiver} are {state}")
    _judge_results(verdict, events, found, seed)
    return verdict


def _judge_deliveries(verdict: Verdict, events: Sequence[Event], book: Book, found: Found) -> None:
    stored = Counter(delivery.webhook_id for delivery in found.deliveries)
    sent = {event.id: event for event in events}
    verdict.lost.extend(f"{name}: no delivery" for name in book.answered if not stored[name])
    verdict.doubled.extend(f"{name}: {n} deliveries" for name, n in stored.items() if n > 1)
    verdict.doubled.extend(
        f"{name}: {n} answers say that it is new" for name, n in book.accepted.items() if n > 1
    )
    for delivery in found.deliveries:
        event = sent.get(delivery.webhook_id)
        if event is None or event.digest != delivery.digest:
            verdict.broken.append(f"{delivery.webhook_id}: its body is not what was sent")
        if delivery.state == "failed":
            verdict.dead.append(f"{delivery.webhook_id}: the delivery failed")
        elif delivery.state != "processed":
            verdict.stuck.append(f"{delivery.webhook_id}: the delivery is {delivery.state}")


def _judge_effects(verdict: Verdict, events: Sequence[Event], book: Book, found: Found) -> None:
    written = Counter(found.effects)
    wanted = {(event.id, receiver) for event in events for receiver in EXPECTED[event.type]}
    verdict.lost.extend(
        f"{webhook_id}: no effect of {receiver}"
        for webhook_id, receiver in sorted(wanted)
        if webhook_id in book.answered and not written[webhook_id, receiver]
    )
    for (webhook_id, receiver), count in written.items():
        if count > 1:
            verdict.doubled.append(f"{webhook_id}: {count} effects of {receiver}")
        if (webhook_id, receiver) not in wanted:
            verdict.doubled.append(f"{webhook_id}: an effect of {receiver} that nobody asked for")


def _judge_results(verdict: Verdict, events: Sequence[Event], found: Found, seed: int) -> None:
    by_id = {result.webhook_id: result for result in found.results}
    for event in events:
        expected = result_checksum(seed, event)
        result = by_id.get(event.id)
        if expected is None or result is None:
            continue  # without a delivery it is lost already
        if result.state != "complete":
            verdict.stuck.append(f"{event.id}: its result file is {result.state}")
        elif (result.size, result.crc32c) != expected:
            verdict.broken.append(f"{event.id}: its result file is not whole")
    named = {result.name for result in found.results}
    verdict.litter.extend(f"storage: {name}" for name in sorted(set(found.files) - named))
    verdict.litter.extend(f"part file: {name}" for name in sorted(found.parts))


def _result(media: Path, webhook_id: str, state: str, name: str) -> Result:
    data = (media / name).read_bytes() if name and (media / name).is_file() else b""
    checksum = Checksum()  # type: ignore[no-untyped-call]  # half typed
    checksum.update(data)  # type: ignore[no-untyped-call]  # likewise
    digest = checksum.digest()  # type: ignore[no-untyped-call]  # likewise
    return Result(
        webhook_id=webhook_id,
        state=state,
        size=len(data),
        crc32c=base64.b64encode(digest).decode(),
        name=name,
    )


def _pairs(rows: Iterable[Sequence[Any]]) -> Iterable[tuple[str, int]]:
    return ((row[0], row[1]) for row in rows)


def _first(cursor: psycopg.Cursor[Any]) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else 0
