"""The differences between database engines: one module per engine, behind one protocol."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from django.db import OperationalError, connection
from django.db.backends.utils import CursorWrapper

from . import postgresql, sqlite


class Engine(Protocol):
    PLACEHOLDER: str
    """The placeholder for a value in SQL for ``send``."""
    FOR_UPDATE: str
    """Locks the rows that a SELECT finds; empty where writers are alone anyway."""
    GREATEST: str
    """The SQL function that returns the greatest of its arguments."""

    def size(self) -> int:
        """Bytes that the database takes on disk."""

    def path(self) -> str:
        """Where the database is, in readable form and without credentials."""

    def write_turn(self, until: float) -> AbstractContextManager[None]:
        """Wait until this thread may write; raises OperationalError at ``until`` (monotonic clock)."""

    def may_be_retried(self, error: OperationalError) -> bool:
        """Whether the database aborted the transaction in favour of another one, so that it can be run again."""

    def send(self, cursor: CursorWrapper, sql: str, params: Sequence[Any]) -> None:
        """Execute SQL that uses ``PLACEHOLDER``."""

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
