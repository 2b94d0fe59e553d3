"""The SQLite file: copied by SQLite's own online backup while reports flow, put back when nobody else has it open."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from traffic import verification
from traffic.databases import as_default, like_default

from .files import BackupError, Progress
from .totals import Totals, measure

# Pages copied between two words about progress.
_PAGES = 2000
# Seconds that a restore waits for whoever has the database open.
_PATIENCE = 5.0
_NO_DATABASE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


def _file(path: Path, mode: str) -> dict[str, Any]:
    """Settings of a database file like the default one. ``DEFERRED`` reads without holding off writers."""
    return like_default(NAME=str(path), CONN_MAX_AGE=None, OPTIONS={"transaction_mode": mode, "timeout": 5})


@contextlib.contextmanager
def as_copy(path: Path) -> Iterator[None]:
    """The database is this file, which nobody else has open."""
    with as_default(_file(path, "IMMEDIATE")):
        yield


def copy(source: Path, target: Path, progress: Progress) -> Totals:
    """Copy the state of one moment while others write; the answer is what that state holds."""
    with as_default(_file(source, "DEFERRED")), transaction.atomic():
        # The first read fixes what this transaction sees; the copy is made inside it.
        found = measure()
        os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(target)) as copied:
            connection.connection.backup(
                copied, pages=_PAGES, progress=lambda _, left, total: progress("copying", total - left, total)
            )
            copied.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
    return found


def check_integrity(path: Path) -> None:
    """Raises BackupError when this is no whole SQLite database."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            answer = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        answer = str(error)
    if answer != "ok":
        raise BackupError(f"The database in it is damaged: {answer}.")


def count_differences(progress: Progress) -> int:
    """Sums of the default database that disagree with its records."""
    done, steps = 0, verification.count_steps()

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress("checking", done, steps)

    return len(list(verification.differences(progress=advance)))


def put_back(source: Path, live: Path, progress: Progress) -> None:
    """Make ``live`` hold what ``source`` holds, in one transaction, or leave it as it is.

    Raises BackupError while anybody else has ``live`` open: a panel that runs knows ids of
    subscribers and servers that may mean others after the restore.
    """
    _make_file(live)
    with contextlib.closing(_alone(live)) as target, contextlib.closing(sqlite3.connect(source)) as copied:
        copied.backup(target, pages=_PAGES, progress=lambda _, left, total: progress("restoring", total - left, total))
        target.execute("PRAGMA locking_mode=NORMAL")
        target.execute("PRAGMA journal_mode=WAL")


def _make_file(live: Path) -> None:
    live.parent.mkdir(parents=True, exist_ok=True)
    if not live.exists():
        os.close(os.open(live, os.O_CREAT | os.O_RDWR, 0o600))
        if os.geteuid() == 0:  # made by root, it must not lock the panel's user out
            folder = live.parent.stat()
            os.chown(live, folder.st_uid, folder.st_gid)


def _alone(live: Path) -> sqlite3.Connection:
    """A connection that keeps everybody else out until it is closed."""
    found = sqlite3.connect(live, timeout=_PATIENCE, isolation_level=None)
    try:
        found.execute("PRAGMA journal_mode=DELETE")  # refused while anybody else has the file open
        found.execute("PRAGMA locking_mode=EXCLUSIVE")
        found.execute("BEGIN EXCLUSIVE")
        found.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        found.close()
        if error.sqlite_errorcode in _NO_DATABASE:
            return _instead_of_damaged(live)
        raise BackupError(
            f"{live} is in use ({error}): stop the panel, and whatever else has it open, first."
        ) from None
    return found


def _instead_of_damaged(live: Path) -> sqlite3.Connection:
    """What cannot be opened as a database is put aside, not deleted: something may still be saved from it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{live}{suffix}").rename(f"{live}.damaged{suffix}")
    _make_file(live)
    return _alone(live)
