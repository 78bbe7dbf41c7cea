"""The tutorial, followed block by block in a new project."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_docs import BLOCKS, Block, Site, with_extras
from tests.test_docs_readme import new_site, running, wait_for

#: What a reader does to his machine, and this one has been done to.
BEFORE = {
    "python -m venv .venv",
    ". .venv/bin/activate",
    'pip install "django-gemini-webhooks[all]"',
}
TUTORIAL = [block for block in BLOCKS if block.page == "tutorial"]


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """What is typed, and what is printed."""
    for part in block.text.removeprefix("$ ").split("\n$ "):
        typed, _, printed = part.partition("\n")
        yield typed, printed.rstrip("\n")


def write(site: Site, name: str, code: str) -> None:
    path, _, at_its_end = name.partition(" ")
    file = site.folder / path
    assert file.exists() or path == "captions/receivers.py", "a file that nothing imports"
    with file.open("a" if at_its_end else "w") as opened:
        opened.write(code)


def type_in(site: Site, typed: str, printed: str) -> None:
    words = shlex.split(typed)
    if words[0] == "django-admin":
        words[:1] = ["python", "-m", "django"]
    if "createsuperuser" in words:
        words += ["--noinput", "--username", "ada", "--email", "ada@example.com"]
    assert words[0] == "python", typed
    deadline = time.monotonic() + 60
    while (seen := site.run(*words[1:]).strip()) != printed and printed:
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)


def until(blocks: Iterator[Block], word: str) -> Iterator[Block]:
    """Blocks up to the one with ``word``, which is left out."""
    for block in blocks:
        if word in block.text:
            return
        yield block
    raise AssertionError(f"no block with {word}")


def follow(site: Site, block: Block) -> None:
    if block.language == "console":
        for typed, printed in commands(block):
            if typed not in BEFORE and not typed.endswith(" shell"):
                type_in(site, typed, printed)
        return
    assert block.language == "python", block
    first = block.text.partition("\n")[0].removeprefix("# ")
    if first.startswith("in the shell"):
        site.run("manage.py", "shell", "-c", block.text)
    else:
        write(site, first, block.text)


@with_extras
def test_it_works_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "let-me-in")
    site = new_site(tmp_path)
    blocks = iter(TUTORIAL)
    for block in until(blocks, "runserver"):
        follow(site, block)
    with running(site) as printed:
        for block in blocks:
            follow(site, block)
            if "fail-row" in block.text and block.language == "python":
                wait_for("KeyError: 'response'", printed)
            if block.text.startswith("# captions/receivers.py"):
                wait_for("Quit the server", printed, times=2)
