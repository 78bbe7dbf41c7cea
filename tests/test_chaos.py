"""``make chaos`` in short, and that it notices what it is there for."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")

from chaos import events, servers
from chaos.faults import KINDS
from chaos.google import stored_file
from chaos.options import Options
from chaos.sender import Book
from chaos.verdict import Delivery, Found, Result, judge

PROJECT = Path(__file__).resolve().parent.parent
SEED = 1

whole = [
    pytest.mark.server("postgres"),
    pytest.mark.server("amqp"),
    pytest.mark.skipif(servers.missing(broker="amqp") is not None, reason="needs the programs"),
    pytest.mark.skipif("TOX_ENV_NAME" in os.environ, reason="one interpreter is enough"),
]


def found_after(sent: list[events.Event]) -> Found:
    """What there is when everything went well."""
    files = [(event, stored_file(SEED, event.file)) for event in sent if event.file is not None]
    return Found(
        deliveries=[
            Delivery(webhook_id=event.id, state="processed", digest=event.digest) for event in sent
        ],
        effects=[(event.id, name) for event in sent for name in events.EXPECTED[event.type]],
        runs={("succeeded", "plain"): len(sent)},
        results=[
            Result(
                webhook_id=event.id,
                state="complete",
                size=len(file.data),
                crc32c=file.crc32c,
                name=f"{event.id}.jsonl",
            )
            for event, file in files
        ],
        files=[f"{event.id}.jsonl" for event, _ in files],
    )


SENT = events.make(40, SEED, [{"tenant": "t"}])
GOOD = found_after(SENT)
BOOK = Book(answered={event.id for event in SENT}, accepted=Counter(e.id for e in SENT))


def test_same_seed_makes_the_same_events_of_every_kind() -> None:
    assert {event.type for event in SENT} == set(events.EXPECTED)
    assert events.make(40, SEED, [{"tenant": "t"}]) == SENT


def test_promises_that_were_kept_are_no_complaint() -> None:
    verdict = judge(SENT, BOOK, GOOD, SEED)

    assert verdict.holds
    assert not any(vars(verdict).values())


@pytest.mark.parametrize(
    ("promise", "found"),
    [
        ("lost", replace(GOOD, deliveries=GOOD.deliveries[1:])),
        ("lost", replace(GOOD, effects=GOOD.effects[1:])),
        ("doubled", replace(GOOD, deliveries=[*GOOD.deliveries, GOOD.deliveries[0]])),
        ("doubled", replace(GOOD, effects=[*GOOD.effects, GOOD.effects[0]])),
        ("doubled", replace(GOOD, effects=[*GOOD.effects, ("msg_of_nobody", "plain")])),
        ("stuck", replace(GOOD, runs={("retrying", "plain"): 1})),
        (
            "stuck",
            replace(
                GOOD,
                deliveries=[*GOOD.deliveries[1:], replace(GOOD.deliveries[0], state="processing")],
            ),
        ),
        ("stuck", replace(GOOD, results=[replace(GOOD.results[0], state="fetching")])),
        ("dead", replace(GOOD, runs={("dead", "plain"): 1})),
        (
            "dead",
            replace(
                GOOD, deliveries=[*GOOD.deliveries[1:], replace(GOOD.deliveries[0], state="failed")]
            ),
        ),
        (
            "broken",
            replace(
                GOOD, deliveries=[*GOOD.deliveries[1:], replace(GOOD.deliveries[0], digest="")]
            ),
        ),
        ("broken", replace(GOOD, results=[replace(GOOD.results[0], size=1)])),
    ],
)
def test_broken_promise_is_named(promise: str, found: Found) -> None:
    verdict = judge(SENT, BOOK, found, SEED)

    assert not verdict.holds
    assert [name for name, cases in vars(verdict).items() if cases and name != "litter"] == [
        promise
    ]


@pytest.mark.parametrize(
    ("promise", "book"),
    [
        ("owed", replace(BOOK, answered=BOOK.answered - {SENT[0].id})),
        ("doubled", replace(BOOK, accepted=BOOK.accepted + Counter([SENT[0].id]))),
        ("refused", replace(BOOK, refused=Counter({401: 1}))),
    ],
)
def test_answers_that_must_not_be_are_named(promise: str, book: Book) -> None:
    verdict = judge(SENT, book, GOOD, SEED)

    assert [name for name, cases in vars(verdict).items() if cases] == [promise]


def test_server_error_breaks_a_promise() -> None:
    verdict = judge(SENT, replace(BOOK, statuses=Counter({200: 40, 500: 2})), GOOD, SEED)

    assert verdict.erred == ["2 × HTTP 500"]
    assert not verdict.holds


def test_files_that_a_killed_worker_leaves_are_shown_but_break_no_promise() -> None:
    verdict = judge(SENT, BOOK, replace(GOOD, files=[*GOOD.files, "half"], parts=["1.part"]), SEED)

    assert verdict.litter == ["storage: half", "part file: 1.part"]
    assert verdict.holds


def test_documentation_tells_every_fault_and_every_option() -> None:
    page = (PROJECT / "docs" / "reliability.md").read_text()
    options = {f"--{field.name}" for field in fields(Options)}

    assert [kind for kind in KINDS if kind not in page] == []
    assert set(re.findall(r"^\| `(--[a-z]+)` ", page, re.MULTILINE)) == options


@contextmanager
def chaos(*options: str, module: str = "chaos") -> Iterator[subprocess.Popen[str]]:
    """The command, as ``make chaos`` runs it; fails if it leaves anything behind."""
    # Not pytest's own folder: PostgreSQL, another user, may not pass through it.
    scratch = Path(tempfile.mkdtemp(prefix="gemini-chaos-test-"))
    scratch.chmod(0o711)
    # A process that is killed leaves half a file where coverage is measured.
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("COV", "DJANGO"))}
    command = [sys.executable, "-m", module, "--json", str(scratch / "report.json"), *options]
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env={**environment, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)
    left = [path.name for path in scratch.iterdir() if path.name != "report.json"]
    still_running = [path for path in Path("/proc").glob("[0-9]*/environ") if uses(path, scratch)]
    shutil.rmtree(scratch)
    assert left == []
    assert still_running == []


def uses(environment: Path, scratch: Path) -> bool:
    try:
        return f"{scratch}/".encode() in environment.read_bytes()
    except OSError:
        return False


def run(*options: str, module: str = "chaos") -> tuple[int, str, dict[str, Any]]:
    with chaos(*options, module=module) as process:
        printed, _ = process.communicate(timeout=400)
        written = Path(process.args[4])
        report = json.loads(written.read_text()) if written.exists() else {}
    return process.returncode, printed, report


class TestWhole:
    pytestmark = whole

    def test_nothing_is_lost_doubled_or_stuck_while_everything_breaks(self) -> None:
        code, printed, report = run("--events", "120", "--seconds", "25", "--pause", "0.3")

        assert code == 0, printed
        assert "Every promise held." in printed
        assert report["answered_2xx"] == report["deliveries"] == report["events"] == 140
        assert sum(len(times) for times in report["faults"].values()) >= 5
        assert report["run_attempts"]["succeeded"] == report["effects"] > 120

    def test_app_that_breaks_its_promises_is_found_out(self) -> None:
        options = "--events 40 --seconds 1 --patience 8 --broker redis --only"
        code, printed, report = run(*options.split(), "beat killed", "--sabotage")

        assert code == 1, printed
        assert printed.rstrip().endswith("FAILED.")
        assert min(report["lost"], report["doubled"], report["stuck"]) > 0
        assert report["settle_seconds"] is None

    def test_interrupted_it_leaves_nothing_behind(self) -> None:
        with chaos("--events", "100", "--broker", "redis") as process:
            assert process.stdout
            assert any("everything runs" in line for line in process.stdout)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

        assert process.returncode == 2


def test_unknown_fault_is_explained() -> None:
    code, printed, _ = run("--only", "coffee spilt")

    assert code == 2
    assert "'coffee spilt'" in printed
    assert "beat killed" in printed
