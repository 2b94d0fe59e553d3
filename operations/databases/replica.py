"""A streaming replica for figures and downloads of operators, so that they do not disturb the database that takes reports.

Nothing is read there that is not inside ``reading``. What subscribers see, and whatever is read to be changed, comes from
the primary.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, models

T = TypeVar("T")
ALIAS = "read"
# Seconds for which a replica that did not answer is not asked again.
PAUSE = 30.0

logger = logging.getLogger(__name__)


class _Thread(threading.local):
    depth = 0


class _Absence:
    """When the replica may be asked again."""

    until = 0.0


_thread = _Thread()
_absence = _Absence()


def is_set() -> bool:
    return ALIAS in connections.settings


@contextmanager
def reading() -> Iterator[None]:
    """In this block figures come from the replica, if there is one and it answers; else from the primary.

    Inside a transaction nothing changes, because it has to see its own changes.
    """
    if not is_set() or connection.in_atomic_block or not _answers():
        yield
        return
    _thread.depth += 1
    try:
        yield
    finally:
        _thread.depth -= 1


def rows_while_reading(rows: Iterable[T]) -> Iterator[T]:
    """The same rows, which are read while they are sent."""
    with reading():
        yield from rows


def _answers() -> bool:
    if time.monotonic() < _absence.until:
        return False
    try:
        connections[ALIAS].close_if_health_check_failed()
        connections[ALIAS].ensure_connection()
    except OperationalError:
        _absence.until = time.monotonic() + PAUSE
        logger.warning("The replica does not answer: figures come from the primary.")
        return False
    return True


class Router:
    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        return ALIAS if _thread.depth else None

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        """A row that came from the replica is written to the primary too."""
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: models.Model, other: models.Model, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == ALIAS else None


def lag() -> float | None:
    """Seconds by which the replica is behind; None if it does not answer."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_lsn()")
            here = cursor.fetchone()[0]
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(
                "SELECT CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= %s::pg_lsn THEN 0"
                " ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0) END",
                [here],
            )
            return max(0.0, float(cursor.fetchone()[0]))
    except OperationalError:
        return None
