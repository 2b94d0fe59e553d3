"""PostgreSQL: writers work in parallel, and the database aborts one of two that wait for each other.

``lock_timeout``, which the settings set, limits how long a writer waits for a row that another one holds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection
from django.db.backends.utils import CursorWrapper

PLACEHOLDER = "%s"
FOR_UPDATE = " FOR UPDATE"
GREATEST = "GREATEST"
# Deadlock and serialisation failure.
_GIVEN_UP = {"40P01", "40001"}


def size() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


def path() -> str:
    database = connection.settings_dict
    return f"{database['HOST'] or 'localhost'}/{database['NAME']}"


@contextmanager
def write_turn(until: float) -> Iterator[None]:
    yield


def may_be_retried(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", "") in _GIVEN_UP


def send(cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> None:
    cursor.execute(sql, params)


def hold_off_writers(tables: Sequence[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")


def hold_off_readers(tables: Sequence[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
