"""The one way to write: in turn with other writers, atomic, and run again if the database aborted it."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ParamSpec, TypeVar, overload

from django.db import InternalError, OperationalError, connection, transaction

from . import engine

P = ParamSpec("P")
R = TypeVar("R")

# Seconds that a writer waits for its turn; its caller waits for the response in that time.
DEADLINE = 10.0
_TRIES = 5


@overload
def write_transaction(*, savepoint: bool = True) -> AbstractContextManager[None]: ...
@overload
def write_transaction(work: Callable[P, R]) -> Callable[P, R]: ...
def write_transaction(
    work: Callable[P, R] | None = None, *, savepoint: bool = True
) -> AbstractContextManager[None] | Callable[P, R]:
    """Use ``@write_transaction`` for a function and ``with write_transaction():`` for a block.

    On return the work is committed, which means on disk as SQLite and PostgreSQL are configured here. Inside another
    transaction it becomes a part of that one, which fails with it unless ``savepoint`` is set. Only a function can be
    run again after the database aborted it in favour of another. Raises OperationalError if the turn does not come in
    time.
    """
    return _block(deadline(), savepoint=savepoint) if work is None else _function(work)


def deadline() -> float:
    """The time on the monotonic clock until which a writer that starts now may wait for its turn."""
    return time.monotonic() + DEADLINE


def write_turn(until: float) -> AbstractContextManager[None]:
    """Hold the write turn for one write transaction. Raises OperationalError if it does not come by ``until``."""
    return engine.current().write_turn(until)


@contextmanager
def _block(until: float, *, savepoint: bool = True) -> Iterator[None]:
    with write_turn(until):
        try:
            with transaction.atomic(durable=not connection.in_atomic_block, savepoint=savepoint):
                yield
        except InternalError as error:
            if not engine.current().is_lost_commit(error):
                raise
            raise OperationalError(str(error)) from error.__cause__


def _function(work: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        until = deadline()
        for attempt in range(1, _TRIES):
            try:
                with _block(until):
                    return work(*args, **kwargs)
            except OperationalError as error:
                if not engine.current().may_be_retried(error):
                    raise
                time.sleep(0.01 * attempt)
        with _block(until):
            return work(*args, **kwargs)

    return run
