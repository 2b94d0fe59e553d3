"""Whether the files of an open SQLite database are still those at its path.

Linux lets a program go on with files that were removed or replaced: what it commits there is gone after its restart.
"""

import os
from contextlib import suppress

from django.db import OperationalError

# The index in shared memory is not watched: SQLite builds it again from the log.
_SUFFIXES = ("", "-wal")


class OpenFiles:
    """The files of one connection, as they were when it used them first."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}

    def note(self, name: str) -> None:
        """Call it after the connection has used its files."""
        if len(self._known) < len(_SUFFIXES):
            for path in _paths(name):
                with suppress(OSError):
                    self._known.setdefault(path, _identity(path))

    def check(self) -> None:
        """Raises OperationalError if a file is gone, or another one has taken its place."""
        for path, known in self._known.items():
            try:
                is_same = _identity(path) == known
            except OSError:
                is_same = False
            if not is_same:
                raise OperationalError(f"{path} was removed or replaced while it was in use.")


def users_of_lost_files(name: str) -> list[int]:
    """Ids of the processes that this user can look into and that use files of this database which are gone."""
    lost = {f"{path} (deleted)" for path in _paths(name)}
    return [int(pid) for pid in _listed("/proc") if pid.isdigit() and lost & _open_in(pid)]


def _paths(name: str) -> list[str]:
    return [f"{name}{suffix}" for suffix in _SUFFIXES]


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116  for each group of reports
    return status.st_dev, status.st_ino


def _open_in(pid: str) -> set[str]:
    folder = f"/proc/{pid}/fd"
    files = set()
    for number in _listed(folder):
        with suppress(OSError):
            files.add(os.readlink(f"{folder}/{number}"))  # noqa: PTH115
    return files


def _listed(folder: str) -> list[str]:
    """Empty without /proc, for a process that has ended, and for one of another user."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []
