"""What is in the repository for those who work on it is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gemini_webhooks import __version__

PROJECT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="this is no checkout of the repository")


def test_actions_are_pinned_to_a_commit_and_say_which_version_that_is() -> None:
    used = [
        line.strip()
        for workflow in WORKFLOWS
        for line in workflow.read_text().splitlines()
        if "uses:" in line and "uses: ./" not in line
    ]

    assert len(used) > 5
    pinned = re.compile(r"(- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
    assert [line for line in used if not pinned.fullmatch(line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_may_read_and_no_more_unless_it_says_so(workflow: Path) -> None:
    yaml = pytest.importorskip("yaml")
    described = yaml.safe_load(workflow.read_text())

    assert described["permissions"] == {"contents": "read"}
    jobs = described["jobs"].values()
    assert [job for job in jobs if "uses" not in job and "timeout-minutes" not in job] == []


def test_the_contributing_guide_names_targets_that_there_are() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake (\w+)", (PROJECT / "CONTRIBUTING.md").read_text()))

    assert named
    assert named <= targets


def test_the_changelog_knows_this_version() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)

    assert released[0] == __version__
