"""Where the processes of one panel queue for SQLite, and what they write with.

Its own busy handler sleeps, up to 100 ms at a time, while the database lies idle; a lock on a
file beside it wakes the next writer at once, and the kernel frees it when its holder is killed.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Seconds after which a turn comes too late: the caller has been waiting for its answer.
DEADLINE = 10.0
SUFFIX = "-lock"


class _FileLock:
    def __init__(self) -> None:
        self._threads = threading.RLock()  # the file lock is one for all threads of a process
        self._depth = 0
        self._descriptor = -1
        self._owner: tuple[int, str] | None = None

    @contextmanager
    def held(self, path: str) -> Iterator[None]:
        """Once more by the thread that holds it costs nothing."""
        with self._threads:
            if not self._depth:
                self._open(path)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _open(self, path: str) -> None:
        """Once in each process: a descriptor that came with a fork would share the parent's lock."""
        if self._owner == (os.getpid(), path):
            return
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _like_the_database(path, self._descriptor)
        except OSError as error:
            raise OperationalError(f"{path}: {error.strerror}") from error
        self._owner = (os.getpid(), path)


def _like_the_database(path: str, descriptor: int) -> None:
    """As SQLite does with its own files: made by root, it must not lock the panel's user out."""
    try:
        database = Path(path.removesuffix(SUFFIX)).stat()
    except FileNotFoundError:
        return
    if os.geteuid() == 0:
        os.fchown(descriptor, database.st_uid, database.st_gid)
        os.fchmod(descriptor, database.st_mode & 0o777)


_file_lock = _FileLock()
_writer: BaseDatabaseWrapper | None = None


@contextmanager
def _writing_connection() -> Iterator[None]:
    """One connection of this process, whichever thread has its turn: its pages and compiled statements stay warm.

    A thread that is inside a transaction of its own goes on with that.
    """
    global _writer
    own = connections[DEFAULT_DB_ALIAS]
    if own.in_atomic_block:
        yield
        return
    if _writer is None or _writer.settings_dict["NAME"] != own.settings_dict["NAME"]:
        _writer = own.copy()  # of what is the default now: a copy of a backup may stand in its place
        _writer.inc_thread_sharing()
    _writer.close_if_unusable_or_obsolete()
    connections[DEFAULT_DB_ALIAS] = _writer
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = own


@contextmanager
def writers_turn() -> Iterator[None]:
    """For the length of one write transaction, on SQLite; PostgreSQL lets its writers work side by side."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or not os.path.isabs(name):  # noqa: PTH117
        yield
        return
    begun = time.monotonic()
    with _file_lock.held(f"{name}{SUFFIX}"):
        if time.monotonic() - begun > DEADLINE:
            raise OperationalError("The database stayed busy.")
        with _writing_connection():
            yield
