"""Rows that stand for other servers, which are asked from time to time. Each row is claimed before its server is asked."""

import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from operations.databases.transactions import write_transaction
from operations.outbound import pacing

logger = logging.getLogger(__name__)

AT_ONCE = 4

Row = TypeVar("Row", bound=Model)
Outcome = TypeVar("Outcome")


def always(now: datetime) -> Q:
    """The condition of what is asked whether it is due or not."""
    return Q()


class Poller(Generic[Row, Outcome]):
    """Asks the servers of ``rows``, whose model has a ``claimed_until``.

    ``claim_time``: longer than one takes, so an expired claim was left by a process that died. ``missed``: the outcome
    for the id of a row that another process has claimed, or that no longer exists.
    """

    def __init__(
        self, rows: QuerySet[Row], claim_time: timedelta, missed: Callable[[int], Outcome]
    ) -> None:
        self._rows = rows
        self._claim_time = claim_time
        self._missed = missed

    def run(
        self,
        pks: Iterable[int],
        ask: Callable[[Row], Awaitable[Outcome]],
        progress: Callable[[Outcome], object],
        is_due: Callable[[datetime], Q] = always,
    ) -> list[Outcome]:
        """Claim and ``ask`` these, a few at a time; ``progress`` is called after each. ``ask`` must not raise.

        ``is_due``: rows for which it does not hold any more were asked by another process meanwhile, and are missed.
        """

        async def one(pk: int) -> Outcome:
            return await self._ask(pk, ask, is_due)

        found: list[Outcome] = async_to_sync(pacing.gather)(one, list(pks), AT_ONCE, progress)
        return found

    @write_transaction
    def claim(self, pk: int, now: datetime, is_due: Q = Q()) -> Row | None:  # noqa: B008  never changed
        """Claim the row; None if another process has claimed it, or it is not due, or no longer exists."""
        free = self._rows.filter(is_due, pk=pk).filter(
            Q(claimed_until=None) | Q(claimed_until__lt=now)
        )
        if not _note(free, now + self._claim_time):
            return None
        return self._rows.filter(pk=pk).first()

    @write_transaction
    def give_back(self, pk: int, claimed_until: datetime | None) -> None:
        """End this claim. That of another process stays."""
        _note(self._rows.filter(pk=pk, claimed_until=claimed_until), None)

    async def _ask(
        self,
        pk: int,
        ask: Callable[[Row], Awaitable[Outcome]],
        is_due: Callable[[datetime], Q],
    ) -> Outcome:
        now = timezone.now()
        row = await sync_to_async(self.claim)(pk, now, is_due(now))
        if row is None:
            return await sync_to_async(self._missed)(pk)
        claimed_until = row.claimed_until  # type: ignore[attr-defined]
        try:
            return await ask(row)
        finally:
            await sync_to_async(self.give_back)(pk, claimed_until)


def in_background(work: Callable[[], object], name: str, failure: str) -> threading.Thread:
    """Run it in a separate thread, so that a request does not wait for other servers. ``failure``: for the log."""
    thread = threading.Thread(target=_run, args=(work, failure), name=name, daemon=True)
    thread.start()
    return thread


def _run(work: Callable[[], object], failure: str) -> None:
    try:
        work()
    except Exception:
        logger.exception(failure)
    finally:
        connection.close()


def _note(rows: QuerySet[Row], claimed_until: datetime | None) -> int:
    """By Django's own ``update``: a model may do more when it changes, but a claim changes nothing that anybody sees."""
    return QuerySet.update(rows, claimed_until=claimed_until)
