"""The part file goes to the storage without being copied, where that changes nothing."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage

pytest.importorskip("google.cloud.storage", reason="needs google-cloud-storage, extra gcs")
pytest.importorskip("google.genai", reason="needs google-genai, extra genai")

from gemini_webhooks import results
from gemini_webhooks.models import ResultFile
from gemini_webhooks.results import claims
from gemini_webhooks.results.transfer import Transfer
from tests.results.conftest import BUCKET

pytestmark = pytest.mark.django_db

CONTENT = b'{"response": 1}\n' * 100_000


@pytest.fixture
def inode(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The part file of the fetch that was, by its number."""
    seen: list[int] = []
    renew = claims.renew

    def watching(*args: Any, **kwargs: Any) -> None:
        seen.extend(path.stat().st_ino for path in Path(tempfile.gettempdir()).rglob("*.part"))
        renew(*args, **kwargs)

    monkeypatch.setattr(claims, "renew", watching)
    return lambda: seen[-1]


def fetched(google: Any, result_of: Any) -> ResultFile:
    uri = google.emulator.storage.put(BUCKET, "output.jsonl", CONTENT, "application/jsonl")
    result = result_of(uri)
    assert results.fetch(result.pk).state == "complete"
    result.refresh_from_db()
    assert Path(result.file.path).read_bytes() == CONTENT
    assert (result.rows, result.failed_rows) == (100_000, 0)
    return result


def is_moved(result: ResultFile, inode: Any) -> bool:
    return Path(result.file.path).stat().st_ino == inode()


def use(settings: Any, **options: Any) -> None:
    backend = options.pop("backend", "django.core.files.storage.FileSystemStorage")
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": backend, "OPTIONS": options},
    }


linux = pytest.mark.skipif(not hasattr(os, "listxattr"), reason="files are moved on Linux only")


@linux
def test_on_one_file_system_it_is_moved(google, result_of, inode, spooled):
    result = fetched(google, result_of)
    assert is_moved(result, inode)
    assert spooled() == []
    found = Path(result.file.path).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_nlink) == (0o644, 1)


@linux
def test_a_storage_is_used_by_whoever_extends_it_all_the_same(google, result_of, inode, settings):
    use(settings, backend=f"{__name__}.Reading")
    assert is_moved(fetched(google, result_of), inode)
    assert Reading.read == CONTENT


class Reading(FileSystemStorage):
    read = b""

    def _save(self, name: str, content: Any) -> str:
        saved = super()._save(name, content)
        content.seek(0)
        Reading.read = content.read()
        return saved


def test_on_another_file_system_it_is_copied(google, result_of, inode, monkeypatch, tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs another file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        assert not is_moved(fetched(google, result_of), inode)


def test_where_the_mask_of_the_process_decides_who_may_read_it_is_copied(
    google, result_of, inode, settings
):
    settings.FILE_UPLOAD_PERMISSIONS = None
    result = fetched(google, result_of)
    assert not is_moved(result, inode)
    assert stat.S_IMODE(Path(result.file.path).stat().st_mode) & stat.S_IRGRP


def test_where_the_folder_gives_files_its_group_it_is_copied(
    google, result_of, inode, settings, tmp_path
):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o2755)
    use(settings, location=folder)
    assert not is_moved(fetched(google, result_of), inode)


@linux
@pytest.mark.parametrize("name", ["system.posix_acl_default", "security.selinux"])
def test_where_the_folder_gives_files_more_than_that_it_is_copied(
    google, result_of, inode, monkeypatch, name
):
    monkeypatch.setattr(os, "listxattr", lambda _path: [name])
    assert not is_moved(fetched(google, result_of), inode)


def test_where_files_have_one_name_only_it_is_copied(google, result_of, inode, monkeypatch):
    def refused(_link: Path, _target: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refused)
    assert not is_moved(fetched(google, result_of), inode)


@linux
def test_on_another_mount_of_the_file_system_it_is_copied(google, result_of, inode, monkeypatch):
    """Only trying tells: a rename there makes Django copy, and not look at what was written."""
    link = os.link

    def on_its_own_mount(source: Any, target: Any, **kwargs: Any) -> None:
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        link(source, target, **kwargs)

    monkeypatch.setattr(os, "link", on_its_own_mount)
    result = fetched(google, result_of)
    assert not is_moved(result, inode)


@linux
def test_nothing_is_left_of_having_tried(google, result_of, tmp_path):
    result = fetched(google, result_of)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [Path(result.file.path)]


class Refusing(FileSystemStorage):
    def _save(self, name: str, content: Any) -> str:
        super()._save(name, content)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_one_that_the_storage_dropped_is_there_for_the_next_attempt(
    google, result_of, settings, stored, spooled, inode
):
    original = settings.STORAGES
    use(settings, backend=f"{__name__}.Refusing")
    result = result_of(google.emulator.storage.put(BUCKET, "a.jsonl", CONTENT, "text/plain"))
    assert results.fetch(result.pk).state == "retrying"
    assert stored() == []
    [part] = spooled()
    assert (part.read_bytes(), part.stat().st_nlink) == (CONTENT, 1)
    settings.STORAGES = original
    assert results.fetch(result.pk).state == "complete"
    assert len(google.downloads) == 1


def test_a_large_file_takes_few_steps(google, result_of, monkeypatch):
    """What a megabyte costs besides the bytes themselves: pieces taken, and nothing read again."""
    pieces: list[int] = []
    write = Transfer.write

    def counting(transfer: Transfer, piece: bytes) -> int:
        pieces.append(len(piece))
        return write(transfer, piece)

    monkeypatch.setattr(Transfer, "write", counting)
    fetched(google, result_of)
    assert sum(pieces) == len(CONTENT)
    assert len(pieces) <= len(CONTENT) / (256 * 1024) + 1
