"""The differences between database engines: one module per engine, behind one protocol."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from django.db import InternalError, OperationalError, connection
from django.db.backends.utils import CursorWrapper

from . import postgresql, sqlite


class Engine(Protocol):
    PLACEHOLDER: str
    """The placeholder for a value in SQL for ``send``."""
    FOR_UPDATE: str
    """Locks the rows that a SELECT finds; empty where writers are alone anyway."""
    GREATEST: str
    """The SQL function that returns the greatest of its arguments."""
    ROWS: int
    """Rows per statement, at most; a power of two."""
    WRITERS: int
    """Over how many rows writers spread a sum to which all of them add; 1 where writers are alone anyway."""

    def size(self) -> int:
        """Bytes that the database takes on disk."""

    def path(self) -> str:
        """Where the database is, in readable form and without credentials."""

    def write_turn(self, until: float) -> AbstractContextManager[None]:
        """Wait until this thread may write; raises OperationalError at ``until`` (monotonic clock)."""

    def may_be_retried(self, error: OperationalError) -> bool:
        """Whether the database aborted the transaction in favour of another one, so that it can be run again."""

    def is_lost_commit(self, error: InternalError) -> bool:
        """Whether the connection to a part of the database was lost at COMMIT, so that it is unknown what was written."""

    def is_about_a_part(self, error: Exception) -> bool:
        """Whether only a part of the database does not answer and the whole transaction was rolled back.

        Then other rows of the same transaction can be written without those that are kept there.
        """

    def is_elsewhere(self, error: Exception) -> bool:
        """Whether a table is missing only because another node of the cluster has it."""

    def send(self, cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> None:
        """Execute SQL that uses ``PLACEHOLDER``."""

    def can_lock_many(self) -> bool:
        """Whether one SELECT can lock rows of many subscribers. It cannot where they are on several nodes."""

    def hold_off_writers(self, tables: Sequence[str]) -> None:
        """Keep all others from changing these tables until this transaction ends."""

    def hold_off_readers(self, tables: Sequence[str]) -> None:
        """Wait for the transactions that have read these tables, and keep others from reading them until this one ends.

        Only transactions that write matter; an engine with a single writer has none but this one.
        """


_ENGINES: dict[str, Engine] = {"sqlite": sqlite, "postgresql": postgresql}


def current() -> Engine:
    """The engine of this thread's default database."""
    return _ENGINES[connection.vendor]


def database_size() -> int:
    """Bytes that the database takes on disk."""
    return current().size()


def database_path() -> str:
    """The configured path, or host and name of a PostgreSQL database, without credentials."""
    return current().path()
