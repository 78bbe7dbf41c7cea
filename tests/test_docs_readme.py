"""The README's ten minutes, followed in a new project: run it, break it, mend it, replay it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.test_docs import BLOCK, Site, free_port, section, with_extras

SECTION = BLOCK.findall(section("README", "Ten minutes on your desk"))
SETTINGS = "mysite/settings.py (at its end)"


def blocks() -> dict[str, str]:
    """The files of the section by their names; what a shell is given; the line that mends."""
    named = {}
    for language, code in SECTION:
        if language != "python":
            continue
        first = code.partition("\n")[0]
        is_file = first.startswith("# ")
        named[first[2:] if is_file else "mended" if code.startswith("tenant") else "shell"] = code
    return named


def typed(word: str) -> list[str]:
    """The command of the README with ``word`` in it, as arguments of Python."""
    typed_in = "".join(code for language, code in SECTION if language == "console")
    [line] = [
        line for line in re.findall(r"^\$ python (.*)$", typed_in, re.MULTILINE) if word in line
    ]
    return str(line).split()


def new_site(folder: Path) -> Site:
    """As on a laptop, where nothing is set and there is no broker."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_SETTINGS", "GEMINI", "GOOGLE", "STORAGE"))
    }
    return Site(
        folder=folder, environment={**inherited, "CELERY_BROKER_URL": "amqp://127.0.0.1:9//"}
    )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = new_site(tmp_path)
    site.run("-m", "django", "startproject", "mysite", ".")
    site.run("manage.py", "startapp", "reports")
    for name, code in blocks().items():
        if name.endswith(".py"):
            (tmp_path / name).write_text(code)
    with (tmp_path / "mysite" / "settings.py").open("a") as settings:
        settings.write(blocks()[SETTINGS])
    site.run(*typed("migrate"))
    return site


@contextmanager
def running(site: Site) -> Iterator[Path]:
    """What the README starts, on free ports; yields what it prints."""
    port, emulator = free_port(), free_port()
    printed = site.folder / "printed"
    arguments = [*typed("runserver"), str(port), f"--emulator-port={emulator}"]
    with printed.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments, "--emulator-job-seconds=0"],
            cwd=site.folder,
            env={**site.environment, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for("Quit the server", printed)
        exports = re.findall(r"^  export (\w+)=(.*)$", printed.read_text(), re.MULTILINE)
        site.environment.update(exports)
        yield printed
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)


def wait_for(words: str, printed: Path, times: int = 1) -> None:
    deadline = time.monotonic() + 60
    while printed.read_text().count(words) < times:
        assert time.monotonic() < deadline, printed.read_text()
        time.sleep(0.05)


@with_extras
def test_ten_minutes(site: Site) -> None:
    receivers = site.folder / "reports" / "receivers.py"
    with running(site) as printed:
        site.run("manage.py", "shell", "-c", blocks()["shell"])
        wait_for("of acme is done: gs://gemini-emulator/", printed)

        followed = subprocess.run(
            [sys.executable, *typed("send batch.succeeded"), "--timeout", "3"],
            cwd=site.folder,
            env=site.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "KeyError" in followed.stdout, followed
        [webhook_id] = re.findall(r"^webhook-id: (\S+)$", followed.stdout, re.MULTILINE)

        code = receivers.read_text()
        assert "KeyError: 'tenant'" in printed.read_text()
        mended = re.sub(r"tenant = .*\n", blocks()["mended"], code)
        assert mended != code
        receivers.write_text(mended)
        wait_for("Quit the server", printed, times=2)

        replay = typed("replay")
        site.run(*replay[:-1], webhook_id)
        wait_for("batch_7 of nobody is done", printed)
    assert "broker" not in printed.read_text()

    assert "OK" in site.run("manage.py", "test", "reports")
