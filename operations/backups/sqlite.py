"""SQLite backups: SQLite's online backup copies while reports arrive; a restore needs exclusive access."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from operations.databases.substitution import as_default, like_default
from operations.extension import extensions

from .files import BackupError, Progress
from .totals import Totals, measure

# Pages copied between two calls of ``progress``.
_PAGES = 2000
# Seconds that a restore waits for other users of the database.
_PATIENCE = 5.0
_NO_DATABASE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


def _file(path: Path, mode: str) -> dict[str, Any]:
    """Settings for a database file like the default one. ``DEFERRED`` reads without blocking writers."""
    return like_default(
        NAME=str(path), CONN_MAX_AGE=None, OPTIONS={"transaction_mode": mode, "timeout": 5}
    )


@contextlib.contextmanager
def as_copy(path: Path) -> Iterator[None]:
    """Use this file, which nobody else has open, as the default database."""
    with as_default(_file(path, "IMMEDIATE")):
        yield


def copy(source: Path, target: Path, progress: Progress) -> Totals:
    """Copy the state of one moment while others write, and return its totals."""
    with as_default(_file(source, "DEFERRED")), transaction.atomic():
        # The first read starts the snapshot of this transaction; the copy is made inside it.
        found = measure()
        os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(target)) as copied:
            connection.connection.backup(
                copied,
                pages=_PAGES,
                progress=lambda _, left, total: progress("copying", total - left, total),
            )
            copied.execute("PRAGMA journal_mode=DELETE")  # one file, without -wal and -shm
    return found


def check_integrity(path: Path) -> None:
    """Raises BackupError if this is not an intact SQLite database."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            answer = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        answer = str(error)
    if answer != "ok":
        raise BackupError(f"The database in the backup is damaged: {answer}.")


def count_differences(progress: Progress) -> int:
    """The number of sums in the default database that disagree with its records, in all apps."""
    proofs = [proof for extension in extensions() for proof in extension.proofs]
    done, steps = 0, sum(proof.steps() for proof in proofs)

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress("checking", done, steps)

    return sum(proof.count(advance) for proof in proofs)


def put_back(source: Path, live: Path, progress: Progress) -> None:
    """Replace the content of ``live`` with that of ``source`` in one transaction, or leave it unchanged.

    Raises BackupError if another process has ``live`` open, because a running panel caches ids of
    subscribers and servers that the restore may change.
    """
    _make_file(live)
    with (
        contextlib.closing(_alone(live)) as target,
        contextlib.closing(sqlite3.connect(source)) as copied,
    ):
        copied.backup(
            target,
            pages=_PAGES,
            progress=lambda _, left, total: progress("restoring", total - left, total),
        )
        target.execute("PRAGMA locking_mode=NORMAL")
        target.execute("PRAGMA journal_mode=WAL")


def _make_file(live: Path) -> None:
    live.parent.mkdir(parents=True, exist_ok=True)
    if not live.exists():
        os.close(os.open(live, os.O_CREAT | os.O_RDWR, 0o600))
        if os.geteuid() == 0:  # a file made by root must stay usable for the panel's user
            folder = live.parent.stat()
            os.chown(live, folder.st_uid, folder.st_gid)


def _alone(live: Path) -> sqlite3.Connection:
    """A connection with exclusive access until it is closed."""
    found = sqlite3.connect(live, timeout=_PATIENCE, isolation_level=None)
    try:
        found.execute("PRAGMA journal_mode=DELETE")  # fails while another process has the file open
        found.execute("PRAGMA locking_mode=EXCLUSIVE")
        found.execute("BEGIN EXCLUSIVE")
        found.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        found.close()
        if error.sqlite_errorcode in _NO_DATABASE:
            return _instead_of_damaged(live)
        raise BackupError(
            f"{live} is in use ({error}): first stop the panel and every other program that has it open."
        ) from None
    return found


def _instead_of_damaged(live: Path) -> sqlite3.Connection:
    """Rename a file that is not a database instead of deleting it, because some of it may be recoverable."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{live}{suffix}").rename(f"{live}.damaged{suffix}")
    _make_file(live)
    return _alone(live)
