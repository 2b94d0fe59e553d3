"""One commit for everything that waits: the first thread in leads, the others follow.

The leader waits for its turn to write, takes all reports that are waiting by then, records
them in one transaction and wakes their threads; while it waits for the disk, the next group
gathers. There is no background thread that could die with reports in its hands, and a lone
request never waits for company.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from . import metrics
from .recording import Outcome, record
from .reports import Report
from .turns import writers_turn

# Reports a transaction, as far as whole requests fit: a batch of the largest size always does.
MAX_GROUP = 10_000
# Reports that may wait; beyond it a stalled disk would fill the memory.
MAX_WAITING = 50_000
# Seconds after which a request that nobody has begun to record is given up.
DEADLINE = 10.0


class _Request:
    """What one thread wants recorded, and what became of it."""

    def __init__(self, reports: Sequence[Report], *, create_subscribers: bool) -> None:
        self.reports = reports
        self.create_subscribers = create_subscribers
        self.is_taken = False
        self.is_woken = False
        # An Event would make two more locks, and a follower is woken once only.
        self._sleep = threading.Lock()
        self._sleep.acquire()
        self.outcomes: list[Outcome] | None = None
        self.error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.outcomes is not None or self.error is not None

    def wait(self, seconds: float = -1) -> bool:
        return self._sleep.acquire(timeout=seconds)

    def wake(self) -> None:
        """To see what became of the request, or to lead. By one thread at a time: the leader."""
        if not self.is_woken:
            self.is_woken = True
            self._sleep.release()

    def record(self) -> None:
        """By itself, so that it gets its own truth."""
        try:
            self.outcomes = record(self.reports, timezone.now(), create_subscribers=self.create_subscribers)
        except Exception as error:  # noqa: BLE001  raised again in the thread whose report it is
            self.error = error


class GroupCommit:
    """The queue of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._reports_waiting = 0
        self._has_leader = False

    def submit(self, reports: Sequence[Report], *, create_subscribers: bool = False) -> list[Outcome]:
        """Record reports, together with whatever else is waiting; see ``recording.record``.

        Raises OperationalError when the database stays busy or too much is waiting; then nothing was counted.
        """
        request = _Request(reports, create_subscribers=create_subscribers)
        if not self._enqueue(request):
            self._follow(request)
        if not request.is_done:
            self._lead(request)
        if request.error is not None:
            raise request.error
        return request.outcomes or []

    def _enqueue(self, request: _Request) -> bool:
        """True: the caller leads."""
        with self._lock:
            if self._reports_waiting + len(request.reports) > MAX_WAITING:
                raise OperationalError("Too many reports are waiting for the disk.")
            self._waiting.append(request)
            self._reports_waiting += len(request.reports)
            leads, self._has_leader = not self._has_leader, True
            return leads

    def _follow(self, request: _Request) -> None:
        """Wait until the request is done, or it is this thread's turn to lead."""
        if request.wait(DEADLINE):
            return
        with self._lock:
            given_up = not request.is_taken and not request.is_woken
            if given_up:
                self._remove(request)
        if given_up:
            raise OperationalError("The database stayed busy.")
        request.wait()

    def _lead(self, request: _Request) -> None:
        group = [request]
        begun = time.perf_counter()
        try:
            with writers_turn():
                group = self._take()
                _record_group(group)
        except OperationalError as error:  # its turn did not come
            request.error = error
        finally:
            self._hand_over(request)
            for member in group:
                if not member.is_done:  # this thread itself is being ended
                    member.error = OperationalError("Recording was interrupted.")
                member.wake()
        _measure(group, time.perf_counter() - begun)

    def _take(self) -> list[_Request]:
        """The longest run from the front that fits one transaction; at least one request."""
        with self._lock:
            group = [self._waiting[0]]
            size = len(group[0].reports)
            for request in islice(self._waiting, 1, None):
                size += len(request.reports)
                if size > MAX_GROUP or request.create_subscribers != group[0].create_subscribers:
                    break
                group.append(request)
            for request in group:
                request.is_taken = True
                self._remove(request)
            return group

    def _remove(self, request: _Request) -> None:
        self._waiting.remove(request)
        self._reports_waiting -= len(request.reports)

    def _hand_over(self, request: _Request) -> None:
        """Before the group is woken: the next leader must not wait for that."""
        with self._lock:
            if not request.is_taken:
                self._remove(request)
            if self._waiting:
                self._waiting[0].wake()
            else:
                self._has_leader = False


def _record_group(group: list[_Request]) -> None:
    reports = [report for request in group for report in request.reports]
    try:
        outcomes = record(reports, timezone.now(), create_subscribers=group[0].create_subscribers)
    except (OperationalError, InterfaceError) as error:
        # Busy, full or gone, for all alike. If the connection was lost at COMMIT it is not known what
        # was counted, so trying again is for those who sent an event id.
        for request in group:
            request.error = error
    except Exception:  # noqa: BLE001  whatever it is, it is one request's: each finds out by itself
        for request in group:
            request.record()
    else:
        rest = iter(outcomes)
        for request in group:
            request.outcomes = list(islice(rest, len(request.reports)))


def _measure(group: list[_Request], seconds: float) -> None:
    """After the group was woken: nobody waits for this."""
    metrics.COMMIT_SECONDS.observe(seconds)
    metrics.GROUP_REPORTS.observe(sum(len(request.reports) for request in group))
    recorded = 0
    sums: dict[str, tuple[int, int]] = {}
    refused: list[Outcome] = []
    for request in group:
        for report, outcome in zip(request.reports, request.outcomes or (), strict=False):
            if outcome is not Outcome.RECORDED:
                refused.append(outcome)
                continue
            recorded += 1
            upload, download = sums.get(report.server, (0, 0))
            sums[report.server] = upload + report.upload, download + report.download
    metrics.RECORDED.inc(recorded)
    for server, (upload, download) in sums.items():
        metrics.count_bytes(server, upload, download)
    for outcome in refused:
        if outcome is Outcome.DUPLICATE:
            metrics.DUPLICATE.inc()
        else:
            metrics.count_refused(outcome.value)


submit = GroupCommit().submit
