"""Books what waits in the spool: by a thread of each process that has something to wait for, or by a command."""

import logging
import os
import threading
import time
from pathlib import Path

import msgspec
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from traffic.intake.acceptance import TrackingOffError
from traffic.reports import MAX_AGE

from . import booking, spool
from .booking import Told
from .conf import conf
from .spool import Spool

logger = logging.getLogger(__name__)
# Bytes that may wait on one machine: days of several large panels.
MOST = 256 * 2**20
# Seconds between two tries while the database is busy.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
# Not booked now, but later.
NOT_NOW = (OperationalError, InterfaceError, TrackingOffError)

_spools: dict[Path, Spool] = {}
_decode = msgspec.json.Decoder(Told).decode


def current() -> Spool:
    """The spool of this machine."""
    folder = conf.spool_folder
    return _spools.setdefault(folder, Spool(folder, MOST))


def keep(told: Told) -> None:
    """Keep a message that the database did not take. Raises SpoolFullError and OSError."""
    current().put(told.id, msgspec.json.encode(told))
    drainer.wake()


def drain() -> int:
    """Book what waits, until the database does not take it; the answer is how many messages were booked.

    Nothing is done while another process does it.
    """
    waiting = current()
    with waiting.alone() as is_alone:
        if not is_alone:
            return 0
        waiting.sweep(time.time())
        return _book_all(waiting)


def _book_all(waiting: Spool) -> int:
    booked = 0
    for path in waiting.paths():
        try:
            _book(path)
        except NOT_NOW as error:
            logger.warning("Messages of 3x-ui wait on disk: %s", " ".join(str(error).split())[:200])
            break
        booked += 1
    return booked


def _book(path: Path) -> None:
    """A file that is never booked would hold up all others, so it is set aside."""
    try:
        if time.time() - spool.time_of(path.name) > MAX_AGE.total_seconds():
            # Nobody knows by now whether it was counted before its process died.
            raise ValueError("older than 31 days")  # noqa: TRY301
        booking.book(_decode(path.read_bytes()), timezone.now())
    except NOT_NOW:
        raise
    except FileNotFoundError:
        return
    except Exception:
        logger.exception("A message of 3x-ui cannot be booked: %s", path.name)
        spool.set_aside(path)
    else:
        path.unlink(missing_ok=True)


class Drainer:
    """One thread per process; it ends when nothing waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()

    def wake(self) -> None:
        """See to it that what waits is booked as soon as the database takes it."""
        with self._lock:
            self._woken.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="inform-spool", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while self._goes_on():
            pause = _FIRST_PAUSE if self._drain() else min(2 * pause, _LONGEST_PAUSE)
            if current().paths():
                time.sleep(pause)

    def _goes_on(self) -> bool:
        with self._lock:
            if self._woken.is_set() or current().paths():
                self._woken.clear()
                return True
            self._thread = None
            return False

    def _drain(self) -> int:
        try:
            return drain()
        except Exception:
            logger.exception("The spool cannot be emptied.")
            return 0
        finally:
            connection.close()


drainer = Drainer()


def start() -> None:
    """Call it when a process begins to serve: a process that was killed may have left messages."""
    if current().paths():
        drainer.wake()


def _begin_afresh() -> None:
    """In the child of a fork: the thread is the parent's."""
    global drainer
    drainer = Drainer()


os.register_at_fork(after_in_child=_begin_afresh)
