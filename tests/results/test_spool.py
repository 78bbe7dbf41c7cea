"""Part files on disk."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from gemini_webhooks.exceptions import ResultError
from gemini_webhooks.results import spool
from gemini_webhooks.results.rows import Counter
from gemini_webhooks.results.transfer import Transfer
from gemini_webhooks.results.types import Description

URI = "gs://b/o"


def folder() -> Path:
    return Path(tempfile.gettempdir()) / f"gemini-webhooks-results-{os.getuid()}"


def leave(generation: str = "1", *, permanent: bool = False) -> None:
    """Write some bytes, then break off."""
    with suppress(ResultError), spool.part_file(1, URI, generation) as file:
        file.write(b"begun")
        raise ResultError("broke off", permanent=permanent)


def counter() -> Counter:
    return Counter(name="", content_type="")


def enter() -> None:
    with ExitStack() as stack:
        stack.enter_context(spool.part_file(1, URI, "1"))


def test_what_was_written_is_there_the_next_time():
    leave()
    with spool.part_file(1, URI, "1") as file:
        assert file.read() == b"begun"


def test_a_part_file_goes_when_it_is_no_longer_needed(spooled):
    leave(permanent=True)
    assert spooled() == []
    with spool.part_file(1, URI, "1"):
        assert len(spooled()) == 1
    assert spooled() == []


def test_another_generation_starts_empty_and_the_old_one_goes(spooled):
    leave("1")
    leave("2")
    [path] = spooled()
    assert path.read_bytes() == b"begun"
    with spool.part_file(1, URI, "1") as file:
        assert file.read() == b""


def test_only_this_user_can_read_it(spooled):
    leave()
    [path] = spooled()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder().stat().st_mode) == 0o700


def test_a_folder_that_others_can_enter_is_not_used(spooled):
    folder().mkdir()
    folder().chmod(0o777)
    with pytest.raises(ResultError, match="remove it"):
        enter()
    assert spooled() == []


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path, spooled):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder().symlink_to(elsewhere)
    with pytest.raises(ResultError, match="remove it"):
        enter()
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_place_of_the_part_file_is_not_followed(tmp_path, spooled):
    leave()
    [path] = spooled()
    victim = tmp_path / "victim"
    victim.write_bytes(b"keep")
    path.unlink()
    path.symlink_to(victim)
    with pytest.raises(ResultError):
        enter()
    assert victim.read_bytes() == b"keep"


def test_two_workers_do_not_write_to_the_same_part_file():
    with spool.part_file(1, URI, "1"), pytest.raises(ResultError, match="another worker"):
        enter()


def test_part_files_that_nobody_came_back_for_are_removed(spooled):
    leave()
    [path] = spooled()
    old = time.time() - spool.STALE_SECONDS - 60
    os.utime(path, (old, old))
    with spool.part_file(2, URI, "1"):
        assert path not in spooled()


class FullDisk:
    """A part file that takes nothing more."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, _chunk: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_full_disk_is_told_in_words_and_worth_another_attempt():
    with spool.part_file(1, URI, "1") as file:
        transfer = Transfer(FullDisk(file), Description(size=3), counter(), lambda _done: None)
        with pytest.raises(ResultError, match="no space left") as caught:
            transfer.write(b"abc")
        assert not caught.value.permanent
        assert not transfer.is_whole


def transfer(file: Any, **described: Any) -> Transfer:
    return Transfer(file, Description(**described), counter(), lambda _done: None)


def receive(chunk: bytes, *, of: int) -> None:
    with spool.part_file(1, URI, "1") as file:
        receiving = transfer(file, size=of, resumable=True)
        receiving.write(chunk)
        receiving.verify()


def test_less_than_announced_is_kept_and_more_is_thrown_away(spooled):
    with pytest.raises(ResultError, match="after 3 of 5"):
        receive(b"abc", of=5)
    with pytest.raises(ResultError, match="more came"):
        receive(b"def", of=5)
    assert [path.stat().st_size for path in spooled()] == [0]


def test_a_source_that_cannot_resume_starts_over():
    leave()
    with spool.part_file(1, URI, "1") as file:
        assert transfer(file, size=9, resumable=False).done == 0
        file.seek(0)
        assert file.read() == b""


def test_a_part_file_that_is_longer_than_the_object_starts_over():
    leave()
    with spool.part_file(1, URI, "1") as file:
        assert transfer(file, size=2, resumable=True).done == 0


def test_a_part_file_that_a_storage_has_as_well_is_not_written_to(tmp_path, spooled):
    leave()
    [path] = spooled()
    stored = tmp_path / "stored"
    stored.hardlink_to(path)
    with spool.part_file(1, URI, "1") as file:
        assert file.read() == b""
        file.write(b"anew")
    assert stored.read_bytes() == b"begun"


def test_a_part_file_that_was_stored_while_it_was_being_opened_is_not_written_to(
    tmp_path, spooled, monkeypatch
):
    leave()
    [path] = spooled()
    stored = tmp_path / "stored"
    lock = spool.locks.lock

    def stored_before(file: Any, flags: int) -> bool:
        if not stored.exists():
            path.rename(stored)
        return lock(file, flags)

    monkeypatch.setattr(spool.locks, "lock", stored_before)
    with spool.part_file(1, URI, "1") as file:
        assert file.read() == b""
        file.write(b"anew")
    assert stored.read_bytes() == b"begun"


def test_a_part_file_that_never_stays_is_worth_another_attempt(spooled, monkeypatch):
    lock = spool.locks.lock

    def gone_before(file: Any, flags: int) -> bool:
        for path in spooled():
            path.unlink()
        return lock(file, flags)

    monkeypatch.setattr(spool.locks, "lock", gone_before)
    with pytest.raises(ResultError, match="replaced all the time") as caught:
        enter()
    assert not caught.value.permanent


def test_the_second_name_of_a_worker_that_died_goes(spooled):
    leave()
    [path] = spooled()
    path.with_suffix(spool.LINK_SUFFIX).hardlink_to(path)
    with spool.part_file(1, URI, "1") as file:
        assert file.read() == b"begun"
        assert [one.name for one in folder().iterdir()] == [path.name]


def second_name(path: Path) -> Path:
    return path.with_suffix(spool.LINK_SUFFIX)


def test_one_that_a_storage_made_read_only_is_begun_anew(tmp_path, spooled, monkeypatch):
    leave()
    [path] = spooled()
    path.chmod(0o440)
    opened = os.open

    def as_anybody_but_root(name: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if name == str(path) and path.exists() and not path.stat().st_mode & stat.S_IWUSR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(name, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", as_anybody_but_root)
    with spool.part_file(1, URI, "1") as file:
        assert file.read() == b""
        file.write(b"anew")


def test_one_that_can_never_be_opened_is_told_as_that(monkeypatch):
    def refused(*_args: Any, **_kwargs: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    leave()
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ResultError, match="Permission denied") as caught:
        enter()
    assert not caught.value.permanent


def test_a_second_name_is_of_the_file_that_is_open_or_there_is_none(spooled):
    with spool.part_file(1, URI, "1") as file:
        [path] = spooled()
        path.unlink()
        path.write_bytes(b"of another worker")
        with spool.linked(file) as link:
            assert link is None
        assert not second_name(path).exists()
        assert path.read_bytes() == b"of another worker"


def test_the_second_name_of_the_worker_that_has_the_file_stays(tmp_path, spooled, monkeypatch):
    leave()
    [path] = spooled()
    lock = spool.locks.lock
    seen: list[bool] = []

    def begun_by_another_before(file: Any, flags: int) -> bool:
        seen.append(second_name(path).exists())
        if len(seen) == 1:
            path.rename(tmp_path / "stored")
            path.write_bytes(b"of another worker")
            second_name(path).hardlink_to(path)
        return lock(file, flags)

    monkeypatch.setattr(spool.locks, "lock", begun_by_another_before)
    with spool.part_file(1, URI, "1"):
        assert seen == [False, True]


def test_the_second_name_of_another_generation_goes(spooled):
    leave("1")
    [path] = spooled()
    second_name(path).hardlink_to(path)
    leave("2")
    [other] = folder().iterdir()
    assert other.suffix == spool.SUFFIX
    assert other != path
