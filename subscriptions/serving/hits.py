"""Subscription requests: collected in memory, written about once per second.

Subscriptions never wait for this. When the database is too slow, hits are dropped and
their number is logged. A killed process loses its last second of hits.
"""

import atexit
import logging
import os
import threading
from collections import deque
from datetime import datetime, timedelta

import msgspec
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from operations.databases.transactions import write_transaction
from subscriptions.conf import conf
from subscriptions.models import SubscriptionHit

logger = logging.getLogger(__name__)
# The key in ``request.META`` under which the view passes its ``Visit`` to the middleware; no client can send it.
VISIT = "subscriptions.visit"
# The most hits that may wait: a few megabytes.
LIMIT = 10_000
INTERVAL = 1.0
_BATCH = 500
# Rows per transaction, as in the cleanup of records.
_STEP = 1000


class Visit(msgspec.Struct):
    """What the view knows about a subscription request. Without a subscriber it is counted, but not stored."""

    client: str
    subscriber_id: int | None = None
    format: str = ""


class Hit(msgspec.Struct, frozen=True):
    """A row to be written; fields as in ``SubscriptionHit``."""

    at: datetime
    subscriber_id: int
    format: str
    client: str
    status: int
    milliseconds: int
    address: str


class HitWriter:
    """A bounded queue, and a thread that writes it. The thread starts with the first hit."""

    def __init__(self) -> None:
        self._reset()
        # A forked child inherits the parent's queue but not its thread, so it starts with an empty queue.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._waiting: deque[Hit] = deque()
        self._writing = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._dropped = 0

    def put(self, hit: Hit) -> None:
        if len(self._waiting) >= LIMIT:
            self._dropped += 1
            return
        self._waiting.append(hit)
        if self._thread is None:
            self.start()

    def start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="subscription-hits", daemon=True
                )
                self._thread.start()
                atexit.register(self.stop)

    def stop(self) -> None:
        """Write the remaining hits and end the thread; called when the process ends."""
        self._stopped.set()
        self._write()

    def flush(self) -> int:
        """Write all waiting hits and return their number. When the database is busy this raises, and the hits stay queued."""
        written = 0
        with self._writing:
            while batch := self._take():
                written += self._store(batch)
            if self._dropped:
                logger.warning(
                    "%d subscription hits were dropped: the database was busy.", self._dropped
                )
                self._dropped = 0
        return written

    def _take(self) -> list[Hit]:
        return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]

    def _store(self, batch: list[Hit]) -> int:
        rows = [SubscriptionHit(**msgspec.structs.asdict(hit)) for hit in batch]
        try:
            with write_transaction():
                SubscriptionHit.objects.bulk_create(rows)
        except (OperationalError, InterfaceError):
            self._waiting.extendleft(reversed(batch))
            raise
        except DatabaseError:  # a retry would fail too
            logger.exception("%d subscription hits could not be stored.", len(batch))
            return 0
        return len(rows)

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            if self._waiting or self._dropped:
                self._write()

    def _write(self) -> None:
        try:
            self.flush()
        except (OperationalError, InterfaceError) as error:
            logger.info("Subscription hits wait for the database: %s", error)
        finally:
            connection.close()


writer = HitWriter()


def erase(subscriber_id: int) -> int:
    """Delete the hits of one subscriber, in small steps, and return how many."""
    erased = 0
    while step := _erase_step(subscriber_id):
        erased += step
    return erased


@write_transaction
def _erase_step(subscriber_id: int) -> int:
    hits = SubscriptionHit.objects.filter(subscriber=subscriber_id)
    step = list(hits.order_by("pk").values_list("pk", flat=True)[:_STEP])
    return hits.filter(pk__in=step).delete()[0]


def drop_old(now: datetime) -> int:
    """Delete hits older than XPERT_HITS_RETENTION_DAYS, in small steps, and return how many."""
    edge = now - timedelta(days=conf.hits_retention_days)
    dropped = 0
    while step := _drop_step(edge):
        dropped += step
    return dropped


def _drop_step(edge: datetime) -> int:
    """Delete the oldest by id. Ids rise with time, so the step reads no more rows than it deletes."""
    oldest = SubscriptionHit.objects.order_by("pk").values_list("pk", "at")[:_STEP]
    old = [pk for pk, at in oldest if at < edge]
    if not old:
        return 0
    with write_transaction(savepoint=False):
        return SubscriptionHit.objects.filter(pk__lte=old[-1], at__lt=edge).delete()[0]
