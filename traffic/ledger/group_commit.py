"""Group commit: one transaction for all waiting work. The first thread leads, the others follow.

The leader waits for its turn to write, takes all work that is waiting by then, writes it
in one transaction and wakes the threads. While it waits for the disk, the next group
gathers. There is no background thread that could die while it holds reports, and a single
request never waits for others.
"""

import os
import threading
import time
from collections import deque
from datetime import datetime
from itertools import islice
from typing import Any, Generic, TypeVar

from django.db import InterfaceError, OperationalError

from operations.databases import engine
from operations.databases.transactions import deadline, write_turn
from traffic import metrics

from .recording import Outcome, Work, Written, write

R = TypeVar("R")

# Rows per transaction. Requests are not split; a batch of the largest size always fits.
MAX_GROUP = 10_000
# Rows that may wait. Without a limit, a stalled disk would fill the memory.
MAX_WAITING = 50_000
# Seconds that a follower waits for a commit that has begun. Afterwards it is unknown whether the report was counted.
LAST_WAIT = 60.0


class _Request(Generic[R]):
    """The work of one thread, and its result."""

    def __init__(self, work: Work[R], now: datetime, *, create_subscribers: bool) -> None:
        self.work = work
        self.size = work.size
        self.now = now
        self.create_subscribers = create_subscribers
        self.until = deadline()
        self.is_taken = False
        self.is_woken = False
        self.is_done = False
        # An Event would create two more locks, and a follower is woken only once.
        self._sleep = threading.Lock()
        self._sleep.acquire()
        self._result: R | None = None
        self._error: BaseException | None = None

    def wait(self, seconds: float) -> bool:
        return self._sleep.acquire(timeout=max(0.0, seconds))

    def wake(self) -> None:
        """Wake the thread to read its result, or to lead. Only the leader calls this."""
        if not self.is_woken:
            self.is_woken = True
            self._sleep.release()

    def succeed(self, result: R) -> None:
        self._result, self.is_done = result, True

    def fail(self, error: BaseException) -> None:
        self._error, self.is_done = error, True

    def result(self) -> R:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # it is set by now


class GroupCommit:
    """The queue of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Request[Any]] = deque()
        self._rows_waiting = 0
        self._has_leader = False

    def submit(self, work: Work[R], now: datetime, *, create_subscribers: bool = False) -> R:
        """Write this work together with all other waiting work; see ``recording.write``.

        Raises OperationalError if the database stays busy or too much is waiting; then nothing was counted.
        """
        request = _Request(work, now, create_subscribers=create_subscribers)
        if not self._enqueue(request):
            self._follow(request)
        if not request.is_done:
            self._lead(request)
        return request.result()

    def _enqueue(self, request: _Request[Any]) -> bool:
        """Add the request to the queue; True if the caller leads."""
        with self._lock:
            if self._rows_waiting + request.size > MAX_WAITING:
                raise OperationalError("Too many reports are waiting for the disk.")
            self._waiting.append(request)
            self._rows_waiting += request.size
            leads, self._has_leader = not self._has_leader, True
            return leads

    def _follow(self, request: _Request[Any]) -> None:
        """Wait until the request is done, or it is this thread's turn to lead."""
        if request.wait(request.until - time.monotonic()):
            return
        with self._lock:
            given_up = not request.is_taken and not request.is_woken
            if given_up:
                self._remove(request)
        if given_up:
            raise OperationalError("The database stayed busy.")
        if not request.wait(LAST_WAIT):
            raise OperationalError("The disk does not answer.")

    def _lead(self, request: _Request[Any]) -> None:
        group = [request]
        written: list[Written[Any]] = []
        begun = time.perf_counter()
        try:
            with write_turn(request.until):
                group = self._take()
                written = _write_group(group)
        except OperationalError as error:  # its turn did not come
            request.fail(error)
        finally:
            self._hand_over(request)
            for member in group:
                if not member.is_done:  # this thread itself is being ended
                    member.fail(OperationalError("Recording was interrupted."))
                member.wake()
        _measure(written, sum(member.size for member in group), time.perf_counter() - begun)

    def _take(self) -> list[_Request[Any]]:
        """Take from the front as many requests as fit one transaction, at least one."""
        with self._lock:
            group = [self._waiting[0]]
            size = group[0].size
            for request in islice(self._waiting, 1, None):
                size += request.size
                if size > MAX_GROUP or request.create_subscribers != group[0].create_subscribers:
                    break
                group.append(request)
            for request in group:
                request.is_taken = True
                self._remove(request)
            return group

    def _remove(self, request: _Request[Any]) -> None:
        self._waiting.remove(request)
        self._rows_waiting -= request.size

    def _hand_over(self, request: _Request[Any]) -> None:
        """Appoint the next leader before the group is woken, so that it need not wait for that."""
        with self._lock:
            if not request.is_taken:
                self._remove(request)
            if self._waiting:
                self._waiting[0].wake()
            else:
                self._has_leader = False


def _write_group(group: list[_Request[Any]]) -> list[Written[Any]]:
    try:
        return [_write(group)]
    except (OperationalError, InterfaceError) as error:
        if len(group) > 1 and engine.current().is_about_a_part(error):
            return _write_each(group)
        # Busy, full or gone, for all of them. If the connection was lost at COMMIT, it is unknown what
        # was counted, so only senders of an event id can safely try again.
        for request in group:
            request.fail(error)
        return []
    except Exception:  # noqa: BLE001  whatever it is, it is one request's: each finds out by itself
        return _write_each(group)


def _write_each(group: list[_Request[Any]]) -> list[Written[Any]]:
    return [written for request in group for written in _write_alone(request)]


def _write_alone(request: _Request[Any]) -> list[Written[Any]]:
    try:
        return [_write([request])]
    except Exception as error:  # noqa: BLE001  raised again in the thread whose request it is
        request.fail(error)
        return []


def _write(group: list[_Request[Any]]) -> Written[Any]:
    works = [request.work for request in group]
    now = max(request.now for request in group)
    written = write(works, now, create_subscribers=group[0].create_subscribers)
    for request, result in zip(group, written.results, strict=True):
        request.succeed(result)
    return written


def _measure(written: list[Written[Any]], size: int, seconds: float) -> None:
    """Runs after the group was woken, so that no request waits for the metrics."""
    metrics.COMMIT_SECONDS.observe(seconds)
    metrics.GROUP_REPORTS.observe(size)
    for part in written:
        _count(part)


def _count(written: Written[Any]) -> None:
    recorded = 0
    sums: dict[str, tuple[int, int]] = {}
    for report, outcome in zip(written.reports, written.outcomes, strict=True):
        if outcome is Outcome.RECORDED:
            recorded += 1
            upload, download = sums.get(report.server, (0, 0))
            sums[report.server] = upload + report.upload, download + report.download
        elif outcome is Outcome.DUPLICATE:
            metrics.DUPLICATE.inc()
        else:
            metrics.count_refused(outcome.value)
    metrics.RECORDED.inc(recorded)
    for server, (upload, download) in sums.items():
        metrics.count_bytes(server, upload, download)


_queue = GroupCommit()


def submit(work: Work[R], now: datetime, *, create_subscribers: bool = False) -> R:
    """``GroupCommit.submit`` of this process."""
    return _queue.submit(work, now, create_subscribers=create_subscribers)


def _begin_afresh() -> None:
    """A forked child needs a new queue: the waiting and leading threads belong to its parent."""
    global _queue
    _queue = GroupCommit()


os.register_at_fork(after_in_child=_begin_afresh)
