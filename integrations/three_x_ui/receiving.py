"""A message is booked at once, or it waits on disk: its sender never waits for the database, and never asks twice."""

import logging
import os
import threading
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from operations.api.authentication import note_use
from operations.models import ApiKey
from traffic.intake.acceptance import TrackingOffError
from traffic.ledger.meters import Answer
from traffic.ledger.retention import forget_events

from . import booking, draining
from .booking import Told
from .booking_threads import Threads
from .spool import SpoolFullError

logger = logging.getLogger(__name__)
# Seconds that the database has. With what comes before and after, the sender waits a tenth of a second.
PATIENCE = 0.08
# Messages of one process that the database may be busy with; all others go to the spool at once.
_MOST = 8
_threads = Threads(_MOST)
# Ids of messages that were booked in time, and how many of them are forgotten at once.
_in_time: deque[str] = deque()
_MANY = 200
_forgetting = threading.Lock()


def receive(told: Told) -> Answer | None:
    """What became of a message; None: it waits on disk, and is booked as soon as the database takes it.

    Either way it is on disk and counts once. Raises TrackingOffError, and OperationalError when neither the database
    nor the disk takes it.
    """
    if connection.in_atomic_block:  # what this transaction has written is seen by no other thread
        return _booked(told)
    begun = _begin(told)
    if begun is None:
        return _kept(told)
    try:
        answer = begun.result(PATIENCE)
    except TrackingOffError:
        raise
    except NotYetError:
        return _kept(told, begun)
    except Exception as error:  # noqa: BLE001  whatever it is, the message is not sent again
        logger.warning("A message of 3x-ui waits on disk: %s", type(error).__name__)
        return _kept(told, begun)
    _in_time.append(told.id)
    return answer


def _begin(told: Told) -> "Future[Answer] | None":
    """Book it in another thread, which goes on after nobody waits any more. None: there are too many."""
    begun: Future[Answer] = Future()
    return begun if _threads.start(lambda: _run(told, begun)) else None


def _run(told: Told, begun: "Future[Answer]") -> None:
    try:
        begun.set_result(_booked(told))
    except Exception as error:  # noqa: BLE001  raised again in the thread that waits
        begun.set_exception(error)
    _forget()


def _booked(told: Told) -> Answer:
    now = timezone.now()
    answer = booking.book(told, now)
    note_use(ApiKey.objects.get(pk=told.key), now)
    return answer


def _forget() -> None:
    """Messages that were booked in time are nowhere on disk, so nobody need know them again. All others expire."""
    found = []
    with _forgetting:
        if len(_in_time) >= _MANY:
            found = [_in_time.popleft() for _ in range(_MANY)]
    try:
        if found:
            forget_events(found)
    except (OperationalError, InterfaceError):
        logger.info("%d messages of 3x-ui are forgotten later.", len(found))


def _kept(told: Told, begun: "Future[Answer] | None" = None) -> Answer | None:
    """On a full disk the database is the only hope, however long it takes."""
    if not told.traffic:  # only a sign of life
        return None
    try:
        draining.keep(told)
    except (OSError, SpoolFullError) as error:
        if begun is not None:
            return begun.result()
        raise OperationalError("The spool is full.") from error
    return None


def _begin_afresh() -> None:
    """In the child of a fork: the threads that hold these are the parent's."""
    global _threads, _in_time, _forgetting
    _threads, _in_time, _forgetting = Threads(_MOST), deque(), threading.Lock()


os.register_at_fork(after_in_child=_begin_afresh)
