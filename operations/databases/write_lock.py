"""The lock that processes of one panel use to queue for SQLite: a file beside the database, and a bell (a named pipe).

SQLite's own busy handler sleeps up to 100 ms at a time, even when the database is idle. The kernel
releases this lock when its holder is killed. A holder rings the bell on release, because a blocking
wait for the lock itself could not be ended if its holder is stopped.
"""

import fcntl
import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.db import OperationalError

SUFFIX = "-lock"
BELL_SUFFIX = "-bell"
# Seconds between two tries without a ring: a killed holder does not ring.
_SILENCE = 0.05
# The capacity of a pipe.
_ALL = 65_536


class FileLock:
    """A lock shared by all threads of one process, which wait for each other first and then for other processes."""

    def __init__(self) -> None:
        self._threads = threading.RLock()
        self._depth = 0
        self._descriptor = self._bell = -1
        self._path = ""

    @contextmanager
    def held(self, path: str, until: float) -> Iterator[None]:
        """Hold the lock; raises OperationalError if it is not free by ``until`` (monotonic clock).

        The thread that holds it may take it again.
        """
        if not self._threads.acquire(timeout=max(0.0, until - time.monotonic())):
            raise _busy()
        try:
            if not self._depth:
                self._lock(path, until)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    self._unlock()
        finally:
            self._threads.release()

    def abandon(self) -> None:
        """Close a forked child's copy of the descriptor, which would keep the lock after the parent is killed."""
        self._close()
        self.__init__()  # type: ignore[misc]

    def _lock(self, path: str, until: float) -> None:
        self._open(path)
        while not self._is_locked():
            left = until - time.monotonic()
            if left <= 0:
                raise _busy()
            self._listen(min(left, _SILENCE))

    def _is_locked(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        with suppress(BlockingIOError):  # the pipe is full, so the next listener wakes at once
            os.write(self._bell, b"!")

    def _listen(self, seconds: float) -> None:
        """Wait for a ring, which may be an old one. If another process takes the ring, that process rings again later."""
        bell = select.poll()
        bell.register(self._bell, select.POLLIN)
        if bell.poll(seconds * 1000):
            with suppress(BlockingIOError):
                os.read(self._bell, _ALL)

    def _open(self, path: str) -> None:
        if self._path == path:
            return
        self._close()
        self._path = ""
        try:
            self._descriptor = _opened(path, path)
            bell = path.removesuffix(SUFFIX) + BELL_SUFFIX
            with suppress(FileExistsError):
                os.mkfifo(bell, 0o600)
            self._bell = _opened(bell, path)
        except OSError as error:
            raise OperationalError(f"{path}: {error.strerror}") from error
        self._path = path

    def _close(self) -> None:
        for descriptor in {self._descriptor, self._bell} - {-1}:
            os.close(descriptor)
        self._descriptor = self._bell = -1


def _busy() -> OperationalError:
    return OperationalError("The database stayed busy.")


def _opened(path: str, lock: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    _like_the_database(lock, descriptor)
    return descriptor


def _like_the_database(lock: str, descriptor: int) -> None:
    """Copy the owner and mode of the database, as SQLite does, so that a lock made by root does not shut the panel out."""
    try:
        database = Path(lock.removesuffix(SUFFIX)).stat()
    except FileNotFoundError:
        return
    if os.geteuid() == 0:
        os.fchown(descriptor, database.st_uid, database.st_gid)
        os.fchmod(descriptor, database.st_mode & 0o777)
