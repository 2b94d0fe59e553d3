"""SQLite: one writer at a time, over one connection per process."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, InternalError, OperationalError, connection, connections
from django.db.backends import utils
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from .forking import abandon
from .open_files import OpenFiles
from .write_lock import SUFFIX, FileLock

PLACEHOLDER = "?"
FOR_UPDATE = ""
GREATEST = "MAX"
# SQLite keeps 128 compiled statements per thread, and one with a thousand rows takes 600 kB.
ROWS = 128
WRITERS = 1

_file_lock = FileLock()
_writer: BaseDatabaseWrapper | None = None
_files = OpenFiles()


def size() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return int(cursor.fetchone()[0])


def path() -> str:
    return str(getattr(settings, "XPERT_TRAFFIC_DB_PATH", connection.settings_dict["NAME"]))


@contextmanager
def write_turn(until: float) -> Iterator[None]:
    """A thread that has its turn, or is inside a transaction, goes on: it holds the database."""
    if connections[DEFAULT_DB_ALIAS] is _writer or connection.in_atomic_block:
        yield
        return
    name = str(connection.settings_dict["NAME"])
    if not os.path.isabs(name):  # noqa: PTH117  in memory
        yield
        return
    with _file_lock.held(f"{name}{SUFFIX}", until), _writing_connection():
        yield


@contextmanager
def _writing_connection() -> Iterator[None]:
    """Use one connection per process for all writers, so that its pages and compiled statements stay cached."""
    own = connections[DEFAULT_DB_ALIAS]
    writer = _writer_like(own)
    # Wrappers that watch the statements of this thread must see these too.
    writer.execute_wrappers = own.execute_wrappers
    writer.force_debug_cursor = own.force_debug_cursor
    writer.queries_log = own.queries_log
    writer.close_if_unusable_or_obsolete()
    files = _files_of(writer)
    files.check()
    connections[DEFAULT_DB_ALIAS] = writer
    try:
        yield
        files.note(writer.settings_dict["NAME"])
    finally:
        connections[DEFAULT_DB_ALIAS] = own


def _files_of(writer: BaseDatabaseWrapper) -> OpenFiles:
    """A new connection opens its files again."""
    global _files
    if writer.connection is None:
        _files = OpenFiles()
    return _files


def _writer_like(own: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """A connection to the file of the current default database, which may be a copy from a backup."""
    global _writer
    if _writer is None or _writer.settings_dict["NAME"] != own.settings_dict["NAME"]:
        _writer = own.copy()
        _writer.inc_thread_sharing()
    return _writer


def may_be_retried(error: OperationalError) -> bool:
    """Never: a writer keeps its turn, and a busy database was already waited for."""
    return False


def is_lost_commit(error: InternalError) -> bool:
    """Never: there is one file."""
    return False


def is_about_a_part(error: Exception) -> bool:
    """Never, for the same reason."""
    return False


def is_elsewhere(error: Exception) -> bool:
    """Never, for the same reason."""
    return False


def send(cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> None:
    """Bypass Django's cursor, whose search for %s in every statement takes a third of the time of a large batch.

    Use it if something watches the statements.
    """
    if _is_watched(cursor):
        cursor.execute(sql.replace(PLACEHOLDER, "%s"), params)
        return
    with cursor.db.wrap_database_errors:
        sqlite3.Cursor.execute(cursor.cursor, sql, params)


def _is_watched(cursor: CursorWrapper) -> bool:
    """Whether ``execute_wrapper``, the query log, or a patched cursor of Django or the driver watches the statements."""
    return (
        bool(cursor.db.execute_wrappers)
        or type(cursor) is not CursorWrapper
        or not isinstance(cursor.cursor, sqlite3.Cursor)
        or CursorWrapper.execute.__code__.co_filename != utils.__file__
    )


def can_lock_many() -> bool:
    """There is nothing to lock."""
    return True


def hold_off_writers(tables: Sequence[str]) -> None:
    """Nothing to do: on SQLite a write transaction already excludes other writers."""


def hold_off_readers(tables: Sequence[str]) -> None:
    """Nothing to do, for the same reason: no other transaction that writes can have read them."""


def _begin_afresh() -> None:
    """Give a forked child its own connection and lock."""
    global _writer
    if _writer is not None:
        abandon(_writer)
    _writer = None
    _file_lock.abandon()


os.register_at_fork(after_in_child=_begin_afresh)
