"""Who fetched a subscription, when and with what: noted in memory, written about once a second.

A subscription never waits for this: what the database does not take in time is
dropped and counted in the log. A killed process loses its last second.
"""

import atexit
import logging
import os
import threading
from collections import deque
from datetime import datetime, timedelta

import msgspec
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from .conf import conf
from .models import SubscriptionHit

logger = logging.getLogger(__name__)
# The key in ``request.META`` under which the view leaves its ``Visit`` for the middleware; no client can send it.
VISIT = "subscriptions.visit"
# Hits that wait at most: some megabytes.
LIMIT = 10_000
INTERVAL = 1.0
_BATCH = 500
# Rows a transaction, as in the cleanup of records.
_STEP = 1000


class Visit(msgspec.Struct):
    """What the view knows of a subscription request. Without a subscriber it is counted, but not stored."""

    client: str
    subscriber_id: int | None = None
    format: str = ""


class Hit(msgspec.Struct, frozen=True):
    """A row to come; fields as in ``SubscriptionHit``."""

    at: datetime
    subscriber_id: int
    format: str
    client: str
    status: int
    milliseconds: int
    address: str


class HitWriter:
    """A bounded queue, and a thread that empties it. The thread starts with the first hit of a process."""

    def __init__(self) -> None:
        self._reset()
        # A forked child has the parent's queue but not its thread: it begins afresh.
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
                self._thread = threading.Thread(target=self._run, name="subscription-hits", daemon=True)
                self._thread.start()
                atexit.register(self.stop)

    def stop(self) -> None:
        """Write what is left and end the thread; called when the process ends."""
        self._stopped.set()
        self._write()

    def flush(self) -> int:
        """Write all that wait and return how many; a database that is busy raises, and they go on waiting."""
        written = 0
        with self._writing:
            while batch := self._take():
                written += self._store(batch)
            if self._dropped:
                logger.warning("%d subscription hits were dropped: the database was busy.", self._dropped)
                self._dropped = 0
        return written

    def _take(self) -> list[Hit]:
        return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]

    def _store(self, batch: list[Hit]) -> int:
        rows = [SubscriptionHit(**msgspec.structs.asdict(hit)) for hit in batch]
        try:
            SubscriptionHit.objects.bulk_create(rows)
        except (OperationalError, InterfaceError):
            self._waiting.extendleft(reversed(batch))
            raise
        except DatabaseError:  # will never be taken
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
    """Delete the hits of one subscriber, and return how many."""
    return SubscriptionHit.objects.filter(subscriber=subscriber_id).delete()[0]


def drop_old(now: datetime) -> int:
    """Delete hits older than XPERT_HITS_RETENTION_DAYS, in small steps, and return how many."""
    edge = now - timedelta(days=conf.hits_retention_days)
    dropped = 0
    while step := _drop_step(edge):
        dropped += step
    return dropped


def _drop_step(edge: datetime) -> int:
    """The oldest by id, which rises with time: so the step reads no more rows than it deletes."""
    oldest = SubscriptionHit.objects.order_by("pk").values_list("pk", "at")[:_STEP]
    old = [pk for pk, at in oldest if at < edge]
    return SubscriptionHit.objects.filter(pk__lte=old[-1], at__lt=edge).delete()[0] if old else 0
