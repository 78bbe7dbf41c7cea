"""Hands a part file to a storage: where it can, the file itself instead of a copy."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage

from gemini_webhooks.results import spool

if TYPE_CHECKING:
    BytesFile = File[bytes]
else:  # generic only in the stubs
    BytesFile = File

#: What a folder hands on to files that are made in it, but not to those that are moved there.
INHERITED = {"system.posix_acl_default", "security.selinux"}


class Content(BytesFile):
    """What a storage copies, in pieces that are worth a call each."""

    DEFAULT_CHUNK_SIZE = 1024**2


class MovableContent(Content):
    """What a ``FileSystemStorage`` renames instead, as it does with large uploads.

    Args:
        file: open.
        name: in the storage.
        path: a name of the file that may be taken away.
    """

    def __init__(self, file: BinaryIO, name: str, path: Path) -> None:
        super().__init__(file, name=name)
        self._path = path

    def temporary_file_path(self) -> str:
        """Where Django looks for it."""
        return str(self._path)


@contextmanager
def content_for(storage: Storage, name: str, file: BinaryIO) -> Iterator[BytesFile]:
    """What to save in ``storage`` under ``name``.

    The part file stays where it is, also if it is moved: then it has two names until one of them
    is removed.

    Args:
        storage: any.
        name: in the storage.
        file: the part file, at its start.
    """
    if not _can_move(storage, name, file):
        yield Content(file, name=name)
        return
    with spool.linked(file) as link:
        yield MovableContent(file, name, link) if link else Content(file, name=name)


def _can_move(storage: Storage, name: str, file: BinaryIO) -> bool:
    """Whether a rename does it, and leaves the file as a copy would be."""
    if not isinstance(storage, FileSystemStorage) or sys.platform != "linux":
        return False
    if storage.file_permissions_mode is None:  # then the process's mask decides
        return False
    try:
        folder = next(path for path in Path(storage.path(name)).parents if path.exists())
        there = folder.stat()
        if there.st_mode & stat.S_ISGID or INHERITED & set(os.listxattr(folder)):
            return False
        same = there.st_dev == os.fstat(file.fileno()).st_dev
        return same and _takes_from(Path(file.name).parent, folder)
    except (OSError, TypeError):  # it may have no name
        return False


def _takes_from(source: Path, folder: Path) -> bool:
    """Whether files of ``source`` can be moved to ``folder``; tried with an empty one.

    Two mounts of one file system have the same number, and where a rename fails Django copies
    without noticing that a disk took only a part.
    """
    with tempfile.NamedTemporaryFile(dir=source, suffix=spool.LINK_SUFFIX) as empty:
        there = folder / f".{uuid.uuid4().hex}"
        try:
            os.link(empty.name, there)
        except OSError:
            return False
        there.unlink()
    return True
