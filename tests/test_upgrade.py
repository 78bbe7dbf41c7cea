"""``make upgrade`` in short, and that it notices what it is there for."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")

from chaos.processes import ChaosError
from chaos.sender import Book
from chaos.upgrade import versions
from chaos.upgrade.options import UpgradeOptions
from chaos.upgrade.report import Phase, Report
from chaos.verdict import Found, Verdict
from tests.test_chaos import PROJECT, run, whole

MODULE = "chaos.upgrade"


def git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()


def version_before() -> str:
    """The last commit with the tables of before; nothing where there is no history."""
    folder = PROJECT / "gemini_webhooks" / "migrations"
    newest = max(folder.glob("[0-9]*.py"))
    if not (PROJECT / ".git").exists():
        return ""
    added = git("log", "--diff-filter=A", "--format=%H", "-1", "--", str(newest))
    before = f"{added}^" if added else "HEAD"
    return git("rev-parse", "--verify", "--quiet", f"{before}^{{commit}}")


BEFORE = version_before()
history = pytest.mark.skipif(not BEFORE, reason="no git history: there is no version before")


class TestWhole:
    pytestmark = [*whole, history]

    def test_nothing_is_lost_while_old_and_new_run_side_by_side(self) -> None:
        options = ["--rows", "3000", "--events", "200", "--seconds", "30", "--seed", "1"]
        code, printed, report = run("--from", BEFORE, *options, module=MODULE)

        assert code == 0, printed
        assert "Every promise held." in printed
        assert report["answered_2xx"] == report["deliveries"] == report["events"] == 200
        assert report["run_attempts"]["succeeded"] == report["effects"] > 200
        assert report["changed_rows"] == 0
        migration, *_ = (phase for phase in report["phases"] if "migration" in phase["name"])
        assert set(migration["answers"]) <= {"200"}


@history
@pytest.mark.parametrize(
    "database",
    [
        pytest.param("postgres", marks=whole),
        pytest.param("mariadb", marks=[pytest.mark.server("mariadb"), *whole[-1:]]),
    ],
)
def test_waits_of_a_bare_database_are_measured(database: str) -> None:
    options = ["--rows", "2000", "--seconds", "2", "--bare"]
    code, printed, report = run("--from", BEFORE, *options, database, module=MODULE)

    assert code == 0, printed
    assert "Nobody waited for long." in printed
    assert len(report["during"]) == 4
    assert report["rows_written"] > 0


@history
def test_unknown_revision_is_explained() -> None:
    code, printed, _ = run("--from", "no-such-version", module=MODULE)

    assert code == 2
    assert "git knows no revision 'no-such-version'" in printed


def test_what_is_no_checkout_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(versions, "PROJECT", tmp_path)

    with pytest.raises(ChaosError, match="no git checkout"):
        versions.commit("HEAD")


def phases(*, longest: float = 0.1, statuses: Sequence[int] = (200,)) -> list[Phase]:
    return [
        Phase(name="old version", seconds=5, statuses={200: 9}, longest=9),
        Phase(
            name="migration, old version runs",
            seconds=5,
            statuses=dict.fromkeys(statuses, 1),
            longest=longest,
        ),
        Phase(name="web is changed", seconds=5, statuses={200: 9, 0: 5, 503: 1}, longest=4),
    ]


GOOD = Report(
    options=UpgradeOptions(old="v1"),
    events=9,
    phases=phases(),
    app_waits={"gemini_webhooks_job": 0.21},
    migration_waits={},
    book=Book(),
    found=Found(),
    verdict=Verdict(),
    changed_rows=0,
    restarts=0,
    settle_seconds=1.0,
)


def test_upgrade_that_nobody_noticed_is_good() -> None:
    printed = "\n".join(GOOD.lines())

    assert GOOD.good
    assert printed.endswith("Every promise held.")
    assert "0.21 (job)" in printed


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, verdict=Verdict(lost=["msg_1: no delivery"])),
        replace(GOOD, phases=phases(longest=2.1)),
        replace(GOOD, phases=phases(statuses=(200, 503))),
        replace(GOOD, phases=phases(statuses=(0,))),
        replace(GOOD, changed_rows=1),
        replace(GOOD, restarts=1),
        replace(GOOD, settle_seconds=None),
    ],
    ids=["lost", "slow", "turned-away", "unanswered", "old-rows", "died", "stuck"],
)
def test_upgrade_that_harms_is_found_out(bad: Report) -> None:
    assert not bad.good
    assert not bad.as_json()["good"]
    assert bad.lines()[-1] == "FAILED."
