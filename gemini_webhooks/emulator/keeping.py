"""Keeps an emulator in a file, so that it goes on after a restart."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from gemini_webhooks.emulator.codec import decode, encode
from gemini_webhooks.emulator.snapshot import Snapshot, restore, take
from gemini_webhooks.emulator.state import Emulator
from gemini_webhooks.exceptions import ConfigurationError

if sys.platform != "win32":
    import fcntl

#: To be raised whenever files of before cannot be read any more.
FORMAT = 1
MARK, STATE = "gemini_emulator_format", "state"
SAVE_SECONDS = 0.5
#: Only the owner may read it: secrets are in it.
MODE = 0o600


class Keeper:
    """Writes the file of ``Options.state`` soon after each change; without one it does nothing.

    From its making until :meth:`close` no other emulator can use the file.

    Args:
        emulator: a new one.

    Raises:
        ConfigurationError: the file is no state, damaged, in use, or cannot be written.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gemini-emulator-state")
        self._written = -1
        self._is_failing = False
        self._path: Path | None = None
        if emulator.options.state is not None:
            # The file itself, not a link to it, is what is replaced.
            self._path = Path(emulator.options.state).resolve()
            self._lock = _locked(self._path)
            try:
                self._found = _read(self._path)
            except ConfigurationError:
                self._lock.close()
                raise

    def start(self) -> None:
        """Fill the emulator from the file, and keep it there from now on."""
        if self._path is None:
            return
        if self._found is not None:
            restore(self._emulator, self._found)
            self._found = None
        self._save(self._path)
        self._thread.start()

    def close(self) -> None:
        """Write the last changes, and let others use the file."""
        if self._path is None:
            return
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
            self._save(self._path)
        self._lock.close()

    def _work(self) -> None:
        pause = SAVE_SECONDS
        while self._path is not None and not self._ended.wait(pause):
            if self._emulator.version != self._written:
                started = time.monotonic()
                self._save(self._path)
                # A large state is written less often, so that there is time for all else.
                pause = max(SAVE_SECONDS, 10 * (time.monotonic() - started))

    def _save(self, path: Path) -> None:
        version = self._emulator.version
        try:
            with self._emulator.lock:
                text = encode({MARK: FORMAT, STATE: take(self._emulator)})
            _write(path, text)
        except (OSError, RecursionError) as error:
            if not self._is_failing:
                self._emulator.options.report(f"The state is not kept: {_why(error)}")
            self._is_failing = True
        else:
            self._written, self._is_failing = version, False


def _locked(path: Path) -> IO[bytes]:
    """A file beside ``path`` that nobody else has locked; closed, it is free again."""
    try:
        lock = open(f"{path}.lock", "ab", opener=_private)  # noqa: SIM115  # it stays open
    except OSError as error:
        raise ConfigurationError(
            f"The state file {path} cannot be written: {_why(error)}"
        ) from None
    if sys.platform != "win32":
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConfigurationError(
                f"Another emulator uses the state file {path}: end it, or choose another file"
            ) from None
    return lock


def _read(path: Path) -> Snapshot | None:
    """What the file has; ``None`` if it is not there or empty."""
    try:
        text = path.read_bytes()
        value = json.loads(text) if text else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"The state file {path} cannot be read: {_why(error)}") from None
    except (ValueError, RecursionError):
        raise _refused(path, "is damaged, or no state file at all") from None
    return None if value is None and not text else _snapshot(path, value)


def _snapshot(path: Path, value: Any) -> Snapshot:
    if not isinstance(value, dict) or MARK not in value:
        raise _refused(path, "is no state file")
    if value[MARK] != FORMAT:
        raise _refused(path, "was written by another version")
    try:
        return decode(Snapshot, value[STATE])
    except (KeyError, TypeError, ValueError):
        raise _refused(path, "is damaged, or was written by another version") from None


def _refused(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The state file {path} {why}: move it away to start anew, or choose another file"
    )


def _write(path: Path, text: str) -> None:
    """Replace the file in one step: whoever reads it finds the old or the new state."""
    draft = Path(f"{path}.new")
    try:
        # One that a killed process left may be readable for others.
        draft.unlink(missing_ok=True)
        with open(draft, "x", encoding="ascii", opener=_private) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, MODE)


def _why(error: OSError | RecursionError) -> str:
    return getattr(error, "strerror", None) or str(error)
