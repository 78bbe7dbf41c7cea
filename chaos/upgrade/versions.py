"""Versions of the app, each in a folder that processes can take it from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from chaos.processes import ChaosError, Processes
from chaos.stack import PROJECT

APP = "gemini_webhooks"


def export(revision: str | None, folder: Path) -> Path:
    """Write the app as it is at a git revision, or in the working tree for ``None``.

    Raises:
        ChaosError: there is no git, no history, or no such revision.
    """
    folder.mkdir()
    if revision is None:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / APP, folder / APP, ignore=ignored)
        return folder
    archive = folder / "app.tar"
    _git("archive", f"--output={archive}", commit(revision), APP)
    shutil.unpack_archive(archive, folder, filter="data")
    archive.unlink()
    return folder


def commit(revision: str) -> str:
    """The commit that a revision means.

    Raises:
        ChaosError: as :func:`export`.
    """
    if not (PROJECT / ".git").exists():
        raise ChaosError("the version before comes from git: this is no git checkout")
    return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")


def check(processes: Processes, environment: dict[str, str], code: Path) -> None:
    """Make sure that processes of the site take the app from ``code``.

    Raises:
        ChaosError: they do not.
    """
    found = processes.run_python(environment, "-c", f"import {APP}; print({APP}.__file__)")
    if not found.startswith(f"{code}/"):
        raise ChaosError(f"processes run {found.strip()} instead of what is in {code}")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # a revision cannot be taken for an option
            ["git", *arguments],  # noqa: S607  # whichever there is
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ChaosError(
            f"the version before comes from git, which does not run: {error}"
        ) from None
    if done.returncode:
        wanted = arguments[-1].removesuffix("^{commit}")
        raise ChaosError(f"git knows no revision {wanted!r} here. {done.stderr.strip()}".rstrip())
    return done.stdout.strip()
