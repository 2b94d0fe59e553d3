"""Backup and restore: a copy of one moment while reports arrive, compared with the database before it is used.

A backup is one gzip file with the SQLite database or the output of ``pg_dump``. Its date is in
the gzip header, and its version follows from its list of migrations.
"""

import sqlite3
from datetime import datetime
from pathlib import Path

import msgspec
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from operations import distribution
from operations.databases import write_lock
from operations.databases.substitution import sqlite_file
from operations.migrations._takeover import OLD_MIGRATIONS

from . import postgresql, sqlite
from .files import (
    CHUNK,
    SQLITE_MAGIC,
    BackupError,
    Progress,
    chunks_of,
    compress,
    dated_name,
    made_at,
    opened,
    put_in_place,
    rotate,
    scratch,
    stored,
    unpack,
)
from .totals import Totals, difference, measure

__all__ = [
    "Backup", "BackupError", "Progress", "database_name", "dated_name", "inspect", "make", "restore", "rotate", "stored",
    "suffix",
]  # fmt: skip

# One of these migrations created the tables of every backup of this panel.
FIRST_MIGRATIONS = frozenset({("operations", "0001_squashed"), ("traffic", "0001_initial")})
# The files of a database: SQLite's own, and the lock file of the writers.
_OWN_ENDINGS = (
    "", "-wal", "-shm", "-journal", write_lock.SUFFIX, write_lock.BELL_SUFFIX,
)  # fmt: skip
# Name of an unpacked SQLite backup in the scratch folder.
_CHECKED = "checked.db"


class Backup(msgspec.Struct, frozen=True):
    """What a backup holds. ``differences``: sums that disagree with its records; only checked for this version."""

    made_at: datetime
    totals: Totals
    migrations: set[tuple[str, str]]
    is_older: bool
    differences: int


def suffix() -> str:
    return "db" if connection.vendor == "sqlite" else "sql"


def database_name() -> str:
    """The database that a restore replaces: the file, or host and name, never credentials."""
    settings = connection.settings_dict
    return str(sqlite_file() or f"{settings['HOST'] or 'localhost'}/{settings['NAME']}")


def make(target: Path, now: datetime, progress: Progress) -> Backup:
    """Write a backup of the default database to ``target`` and compare it with the database; raises BackupError.

    ``target`` appears only after the comparison. Its folder needs room for an unpacked copy.
    """
    _refuse_own_files(target)
    try:
        with scratch(target.parent) as folder:
            packed = folder / "packed"
            expected = _write(packed, folder, now, progress)
            found = _read(packed, folder, progress)
            if wrong := difference(expected, found.totals):
                raise BackupError(f"The backup differs from the database: {wrong}.")
            put_in_place(packed, target)
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror or error}.") from None
    except (sqlite3.Error, DatabaseError) as error:
        raise BackupError(f"The database cannot be copied to {target}: {error}.") from None
    return found


def _refuse_own_files(target: Path) -> None:
    """A running panel would keep counting into a file that was replaced."""
    live = sqlite_file()
    if live and str(target.resolve()) in {f"{live.resolve()}{ending}" for ending in _OWN_ENDINGS}:
        raise BackupError(f"{target} is the panel's own database; choose another file.")


def _write(packed: Path, folder: Path, now: datetime, progress: Progress) -> Totals:
    if connection.vendor == "postgresql":
        return postgresql.dump(packed, now, progress)
    live = sqlite_file()
    if live is None:
        raise BackupError("Only a SQLite file or PostgreSQL can be backed up.")
    plain = folder / "copy.db"
    found = sqlite.copy(live, plain, progress)
    compress(chunks_of(plain, "packing", progress), packed, now)
    plain.unlink()
    return found


def inspect(path: Path, progress: Progress) -> Backup:
    """Read a whole backup; raises BackupError if it is damaged, from a newer version or of another kind of database."""
    with scratch(_scratch_folder(path)) as folder:
        return _inspected(path, folder, progress)


def restore(path: Path, progress: Progress) -> Backup:
    """Restore the database from a backup and migrate it; on BackupError the database is unchanged."""
    with scratch(_scratch_folder(path)) as folder:
        found = _inspected(path, folder, progress)
        if connection.vendor == "postgresql":
            return _restore_postgresql(path, found, progress)
        live = sqlite_file()
        if live is None:
            raise BackupError("Only a SQLite file or PostgreSQL can be restored.")
        connection.close()
        sqlite.put_back(folder / _CHECKED, live, progress)
    return found


def _scratch_folder(path: Path) -> Path:
    live = sqlite_file()
    return live.parent if live else path.parent


def _restore_postgresql(path: Path, found: Backup, progress: Progress) -> Backup:
    postgresql.refuse_company()
    shards = distribution.shards_now()
    with opened(path) as content:
        postgresql.put_back(iter(lambda: content.read(CHUNK), b""), progress)
    call_command("migrate", interactive=False, verbosity=0)
    if shards:
        distribution.distribute(
            distribution.steps(shards), lambda _: progress("distributing", 0, 0)
        )
    return msgspec.structs.replace(found, differences=sqlite.count_differences(progress))


def _inspected(path: Path, folder: Path, progress: Progress) -> Backup:
    """Like ``_read``; afterwards ``checked.db`` in ``folder`` is the content of a SQLite backup, migrated to this version."""
    found = _read(path, folder, progress)
    if newer := sorted(found.migrations - _known_migrations() - OLD_MIGRATIONS):
        names = ", ".join(f"{app} {name}" for app, name in newer[:3])
        raise BackupError(
            f"The backup was made by a newer version (it has {names}): update the panel first."
        )
    if not found.is_older or connection.vendor == "postgresql":
        return found
    with sqlite.as_copy(folder / _CHECKED):
        call_command("migrate", interactive=False, verbosity=0)
        return msgspec.structs.replace(found, differences=sqlite.count_differences(progress))


def _read(path: Path, folder: Path, progress: Progress) -> Backup:
    """The content of a backup of any version; raises BackupError if it is damaged or of another kind of database."""
    with opened(path) as content:
        is_sqlite = content.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    if is_sqlite != (connection.vendor == "sqlite"):
        kinds = ("SQLite", "PostgreSQL") if is_sqlite else ("PostgreSQL", "SQLite")
        raise BackupError(
            f"{path} is not a backup of {kinds[1]}, which the panel uses{', but of ' + kinds[0] if is_sqlite else ''}."
        )
    return _read_sqlite(path, folder, progress) if is_sqlite else _read_postgresql(path, progress)


def _read_sqlite(path: Path, folder: Path, progress: Progress) -> Backup:
    plain = folder / _CHECKED
    unpack(path, plain, progress)
    sqlite.check_integrity(plain)
    with sqlite.as_copy(plain):
        applied = set(MigrationRecorder(connection).applied_migrations())
        _refuse_strangers(applied)
        differences = sqlite.count_differences(progress) if applied == _known_migrations() else 0
        return _backup(path, measure(), applied, differences)


def _read_postgresql(path: Path, progress: Progress) -> Backup:
    with opened(path) as content:
        found = postgresql.read(content, progress)
    _refuse_strangers(found.migrations)
    return _backup(path, found.totals, found.migrations, 0)


def _refuse_strangers(migrations: set[tuple[str, str]]) -> None:
    if not FIRST_MIGRATIONS & migrations:
        raise BackupError(
            "This is not a backup of this panel: it does not hold the panel's tables."
        )


def _backup(path: Path, held: Totals, migrations: set[tuple[str, str]], differences: int) -> Backup:
    is_older = bool(_known_migrations() - migrations)
    return Backup(made_at(path), held, migrations, is_older, differences)


def _known_migrations() -> set[tuple[str, str]]:
    return set(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)
