"""Part files: what has been fetched so far stays on disk, so that a retry goes on from there.

They lie in a folder of this user's own below the system's one for temporary files.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from django.core.files import locks

from gemini_webhooks.exceptions import ResultError

STALE_SECONDS = 2 * 24 * 3600
SUFFIX = ".part"
#: Of a second name that a part file has while a storage takes it.
LINK_SUFFIX = ".link"
MOST_OPENINGS = 5


@contextmanager
def part_file(result_id: int, uri: str, generation: str) -> Iterator[BinaryIO]:
    """Open the part file of a result, created if need be, locked against other workers.

    It is removed at the end, unless the block raised a ``ResultError`` that is not permanent or
    anything unexpected.

    Args:
        result_id: primary key.
        uri: where the bytes come from.
        generation: which version of them; the part files of others are removed.

    Raises:
        ResultError: the folder is not safe, the disk is full, or another worker has the file.
    """
    with disk_errors():
        folder = _folder()
        prefix = f"{result_id}-{_short(uri)}-"
        path = folder / f"{prefix}{_short(generation)}{SUFFIX}"
        _remove_stale(folder)
        for other in set(folder.glob(f"{prefix}*")) - {path, _link_of(path)}:
            other.unlink(missing_ok=True)
    with _opened(path) as file:
        try:
            yield file
        except ResultError as error:
            if error.permanent:
                path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)


def discard(result_id: int, uri: str) -> None:
    """Remove the part files of a result that will not be fetched any more."""
    with suppress(ResultError, OSError):  # what cannot be removed now is stale some day
        for path in _folder().glob(f"{result_id}-{_short(uri)}-*"):
            path.unlink(missing_ok=True)


@contextmanager
def linked(file: BinaryIO) -> Iterator[Path | None]:
    """Give a part file a second name, which a storage may take away; the first one stays.

    ``None`` where the file has no name any more or its file system knows no second ones.
    """
    if not isinstance(file.name, str):
        yield None
        return
    link = _link_of(Path(file.name))
    try:
        link.hardlink_to(file.name)
    except (OSError, NotImplementedError):
        yield None
        return
    try:
        yield link if _is_named(link, file) else None
    finally:
        link.unlink(missing_ok=True)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn an ``OSError`` into a ``ResultError`` that says so; it is worth another attempt."""
    try:
        yield
    except OSError as error:
        where = tempfile.gettempdir()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResultError(f"no space left on the disk of {where}", permanent=False) from None
        raise ResultError(
            f"{where} cannot be used: {os.strerror(error.errno or 0)}", permanent=False
        ) from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    file = _locked(path)
    try:
        yield file
    finally:
        with disk_errors():
            file.close()


def _locked(path: Path) -> BinaryIO:
    """Open what ``path`` names, and only that.

    Whoever had it until now may have stored it, by a link or by moving it. What is written to
    then belongs to a complete result.
    """
    for _ in range(MOST_OPENINGS):
        with disk_errors(), ExitStack() as stack:
            file = stack.enter_context(open(path, "r+b", opener=_open))
            if not locks.lock(file, locks.LOCK_EX | locks.LOCK_NB):
                raise ResultError("another worker on this machine is fetching it", permanent=False)
            if _is_named(path, file):
                _link_of(path).unlink(missing_ok=True)  # of one that died
                if os.fstat(file.fileno()).st_nlink == 1:
                    stack.pop_all()
                    return file
                path.unlink(missing_ok=True)
    raise ResultError(f"{path} is replaced all the time", permanent=False)


def _is_named(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _open(path: str, flags: int) -> int:
    wanted = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags | wanted, 0o600)
    except PermissionError:
        # The storage may have taken it and made it one to be read only, before the row failed.
        Path(path).unlink(missing_ok=True)
        return os.open(path, flags | wanted, 0o600)


def _link_of(path: Path) -> Path:
    return path.with_suffix(LINK_SUFFIX)


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _folder() -> Path:
    """The folder, checked: on a shared machine somebody else may have made it first."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"gemini-webhooks-results-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_ours = not hasattr(os, "getuid") or (
        found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
    )
    if not stat.S_ISDIR(found.st_mode) or not is_ours:
        raise ResultError(
            f"{folder} is not a folder that only this user can enter: remove it", permanent=False
        )
    return folder


def _remove_stale(folder: Path) -> None:
    oldest = time.time() - STALE_SECONDS
    for path in (*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*{LINK_SUFFIX}")):
        with suppress(FileNotFoundError):  # another worker was faster
            if path.lstat().st_mtime < oldest:
                path.unlink()
