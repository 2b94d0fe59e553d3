"""Messages on disk that the database did not take in time: one file each, the oldest first. No Django here.

A file is complete and on disk before ``put`` returns, and is seen under its name only then: whatever is
killed, and whenever, leaves a whole message or none. Any number of processes may use one folder.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

# What a name begins with while the file is being written.
_UNFINISHED = "."
_SUFFIX = ".json"
# What a file is renamed to that cannot be booked: the operator decides.
SET_ASIDE = ".set-aside"
# Seconds after which an unfinished file was left by a process that died.
_ABANDONED = 3600
# Seconds for which the measured size of the folder is believed.
_MEASURED = 1.0


class SpoolFullError(Exception):
    """The folder holds as much as it may."""


class Waiting(NamedTuple):
    """The state of a spool. ``oldest``: Unix seconds; None if nothing waits."""

    messages: int
    bytes: int
    oldest: float | None
    set_aside: int


class Spool:
    """``most``: bytes that may wait in ``folder``, to within what all processes write in a second."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder = folder
        self._most = most
        self._size = 0
        self._measured_at = float("-inf")

    def put(self, name: str, content: bytes) -> None:
        """Keep a message. When this returns it is on disk. Raises SpoolFullError and OSError; then it is not kept.

        ``name`` is unique; files are given out in the order of ``put``.
        """
        self._make_room(len(content))
        final = self.folder / f"{time.time_ns():020d}-{name}{_SUFFIX}"
        unfinished = self.folder / f"{_UNFINISHED}{final.name}"
        try:
            _write(unfinished, content)
            unfinished.rename(final)
            _sync_folder(self.folder)
        except OSError:
            for path in (unfinished, final):
                with suppress(OSError):
                    path.unlink()
            raise

    def paths(self) -> list[Path]:
        """Complete messages, the oldest first."""
        return sorted(path for path in self.folder.glob(f"*{_SUFFIX}") if _is_complete(path.name))

    def waiting(self) -> Waiting:
        found = [(path.name, _size(path)) for path in self.paths()]
        aside = len(list(self.folder.glob(f"*{SET_ASIDE}")))
        oldest = time_of(found[0][0]) if found else None
        return Waiting(len(found), sum(size for _, size in found), oldest, aside)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether the caller is the only one to empty the folder; the kernel releases it when its holder is killed."""
        try:
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        try:
            yield _is_locked(descriptor)
        finally:
            os.close(descriptor)

    def sweep(self, now: float) -> None:
        """Delete what killed processes left half written: none of it was acknowledged."""
        for path in self.folder.glob(f"{_UNFINISHED}*{_SUFFIX}"):
            if time_of(path.name.removeprefix(_UNFINISHED)) < now - _ABANDONED:
                path.unlink(missing_ok=True)

    def _make_room(self, wanted: int) -> None:
        now = time.monotonic()
        if now - self._measured_at > _MEASURED:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._size, self._measured_at = self.waiting().bytes, now
        if self._size + wanted > self._most:
            raise SpoolFullError
        self._size += wanted


def time_of(name: str) -> float:
    """Unix seconds at which the file of this name was put."""
    try:
        return int(name.partition("-")[0]) / 1e9
    except ValueError:  # not ours
        return 0.0


def set_aside(path: Path) -> None:
    path.rename(path.with_name(path.name + SET_ASIDE))


def _is_complete(name: str) -> bool:
    return not name.startswith(_UNFINISHED)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # booked meanwhile
        return 0


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
