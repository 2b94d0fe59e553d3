"""PostgreSQL: writers work in parallel, and the database aborts one of two that wait for each other.

``lock_timeout``, which the settings set, limits how long a writer waits for a row that another one holds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.db import DatabaseError, InternalError, OperationalError, connection
from django.db.backends.utils import CursorWrapper

from . import citus

PLACEHOLDER = "%s"
FOR_UPDATE = " FOR UPDATE"
GREATEST = "GREATEST"
# On Citus each statement becomes one per shard, so that large ones pay.
ROWS = 1024
# More than the processes that write on a usual machine, few enough to be read at once.
WRITERS = 16
# Deadlock and serialisation failure.
_GIVEN_UP = {"40P01", "40001"}
# Citus' coordinator reports the loss of a worker with it. A lost connection of our own has no state.
_CONNECTION_FAILURE = "08006"
_NO_TABLE = "42P01"
_LOST_COMMIT = "could not commit transaction"


def size() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_database_size(current_database()),"
            " EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus')"
        )
        here, has_citus = cursor.fetchone()
    return int(here) + (citus.size_of_workers() if has_citus and citus.is_spread() else 0)


def path() -> str:
    database = connection.settings_dict
    return f"{database['HOST'] or 'localhost'}/{database['NAME']}"


def others_connected() -> int:
    """How many other clients use this database. Citus' own connections are not counted."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            " AND application_name NOT LIKE 'citus!_%' ESCAPE '!'"
        )
        return int(cursor.fetchone()[0])


@contextmanager
def write_turn(until: float) -> Iterator[None]:
    yield


def may_be_retried(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", "") in _GIVEN_UP


def is_lost_commit(error: InternalError) -> bool:
    return _LOST_COMMIT in str(error)


def is_about_a_part(error: Exception) -> bool:
    """Our own connection is still open, so the coordinator has answered and rolled everything back."""
    own = connection.connection
    is_failure = getattr(error.__cause__, "sqlstate", "") == _CONNECTION_FAILURE
    return is_failure and own is not None and not own.closed


def is_elsewhere(error: Exception) -> bool:
    if getattr(error.__cause__, "sqlstate", "") != _NO_TABLE:
        return False
    try:
        return citus.is_worker()
    except DatabaseError:
        return False


def send(cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> None:
    cursor.execute(sql, params)


def can_lock_many() -> bool:
    database = connection.settings_dict
    return not _is_spread(database["HOST"], database["PORT"], database["NAME"])


@lru_cache(maxsize=8)
def _is_spread(host: str, port: str, name: str) -> bool:
    """Asked once per process: tables are distributed while nobody else is connected."""
    return citus.is_spread()


def hold_off_writers(tables: Sequence[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")


def hold_off_readers(tables: Sequence[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
