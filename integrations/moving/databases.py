"""Reads the SQLite database of another panel, without writing to it and without leaving files beside it."""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from integrations.pulls.adapters.asking import MAX_ACCOUNTS

_MAGIC = b"SQLite format 3\0"
# Seconds for which a query may run: a made-up file must not keep the panel busy for ever.
_PATIENCE = 120.0
_STEPS = 1_000_000


class BadDatabaseError(Exception):
    """The file cannot be read, or is not the database of such a panel. ``code`` is for programs."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Database:
    """The tables of an open file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.tables = frozenset(name for (name,) in found)

    def has(self, table: str) -> bool:
        return table in self.tables

    def rows(self, table: str, order: str) -> list[dict[str, Any]]:
        """All rows of a table by column, in the order of this column; raises BadDatabaseError."""
        self._check(table)
        cursor = self._connection.execute(f'SELECT * FROM "{table}" ORDER BY "{order}"')  # noqa: S608  constants
        names = [column[0] for column in cursor.description]
        found = cursor.fetchmany(MAX_ACCOUNTS + 1)
        if len(found) > MAX_ACCOUNTS:
            raise BadDatabaseError("too_many_people")
        return [dict(zip(names, row, strict=True)) for row in found]

    def _check(self, table: str) -> None:
        """A damaged table can be read in part, so it is checked first."""
        if self._connection.execute(f'PRAGMA quick_check("{table}")').fetchone() != ("ok",):
            raise BadDatabaseError("damaged")


@contextmanager
def opened(path: Path, tables: frozenset[str]) -> Iterator[Database]:
    """The database in a file that has these tables, among others. Raises BadDatabaseError.

    The file must not change meanwhile. ``immutable`` would not see that, so time and size are compared.
    """
    before = _checked(path)
    try:
        with (
            _in_place(path) as place,
            closing(sqlite3.connect(_address(place), uri=True)) as connection,
        ):
            yield _database(connection, tables)
    except sqlite3.Error as error:
        raise BadDatabaseError(_code(error)) from None
    if _checked(path) != before:
        raise BadDatabaseError("changed")


def _checked(path: Path) -> tuple[int, int]:
    """When the file was changed, and its size."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise BadDatabaseError("not_sqlite")
        found = path.stat()
    except OSError:
        raise BadDatabaseError("no_file") from None
    return found.st_mtime_ns, found.st_size


@contextmanager
def _in_place(path: Path) -> Iterator[Path]:
    """The file itself; of a copied one with changes beside it another copy, because SQLite would make a file there."""
    if not _is_filled(path, "-wal") or _is_filled(path, "-shm"):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("", "-wal"):
            shutil.copyfile(_beside(path, ending), Path(folder, f"copy.db{ending}"))
        yield Path(folder, "copy.db")


def _address(path: Path) -> str:
    """With changes beside the file, SQLite must read those too, and lock them; without, nothing is locked."""
    is_whole = not any(_is_filled(path, ending) for ending in ("-wal", "-journal"))
    return f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if is_whole else "")


def _is_filled(path: Path, ending: str) -> bool:
    beside = _beside(path, ending)
    return beside.is_file() and beside.stat().st_size > 0


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _database(connection: sqlite3.Connection, tables: frozenset[str]) -> Database:
    end = time.monotonic() + _PATIENCE
    connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    connection.text_factory = lambda text: text.decode(errors="replace")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("BEGIN")  # one state of all tables
    database = Database(connection)
    if not tables <= database.tables:
        raise BadDatabaseError("other_tables")
    return database


def _code(error: sqlite3.Error) -> str:
    number = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if number == sqlite3.SQLITE_CANTOPEN or number == sqlite3.SQLITE_READONLY:
        return "unfinished"
    if number in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return "changed"
    return "slow" if number == sqlite3.SQLITE_INTERRUPT else "damaged"
