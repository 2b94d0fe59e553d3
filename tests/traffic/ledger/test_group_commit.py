import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection
from django.utils import timezone

from operations.databases import engine, transactions
from traffic import metrics
from traffic.ledger import group_commit
from traffic.ledger.group_commit import GroupCommit
from traffic.ledger.recording import Outcome, Reports, Written
from traffic.models import ServerUsage, Usage
from traffic.reports import Report

BOUND = 20  # seconds after which a test that hangs fails


def report(user_token: str = "alice", **fields: Any) -> Report:
    moment = int(timezone.now().timestamp())
    defaults: dict[str, Any] = {
        "server": "vpn.example.com",
        "port": 443,
        "protocol": "vless",
        "moment": moment,
    }
    return Report(**defaults | {"user_token": user_token, "upload": 1, "download": 2} | fields)


class Recorder:
    """Stands in for ``write``: remembers each call, and can be held in the middle of one."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.flags: list[bool] = []
        self.moments: list[datetime] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.fails: Callable[[list[str]], BaseException | None] = lambda tokens: None

    def __call__(
        self, works: Sequence[Reports], now: datetime, *, create_subscribers: bool
    ) -> Written[list[Outcome]]:
        found = [report for work in works for report in work.reports(now)]
        tokens = [report.user_token for report in found]
        self.calls.append(tokens)
        self.flags.append(create_subscribers)
        self.moments.append(now)
        self.begun.set()
        assert self.go_on.wait(BOUND)
        if error := self.fails(tokens):
            raise error
        results = [[_outcome(report) for report in work.reports(now)] for work in works]
        return Written(results, found, [outcome for part in results for outcome in part])


def _outcome(report: Report) -> Outcome:
    return Outcome.DUPLICATE if report.user_token == "again" else Outcome.RECORDED


def submit(group: GroupCommit, *reports: Report, **options: Any) -> list[Outcome]:
    return group.submit(Reports(reports), timezone.now(), **options)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(group_commit, "write", found)
    monkeypatch.setattr(group_commit, "write_turn", lambda until: nullcontext())
    return found


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as found:
        yield found


class Busy:
    """A group commit whose leader is held in ``record``, so that everybody else has to wait."""

    def __init__(self, recorder: Recorder, pool: ThreadPoolExecutor) -> None:
        self.group, self.recorder, self.pool = GroupCommit(), recorder, pool
        recorder.go_on.clear()
        self.leader = pool.submit(submit, self.group, report("leader"))
        assert recorder.begun.wait(BOUND)

    def submit(self, *tokens: str, **options: Any) -> "Future[list[Outcome]]":
        before = len(self.group._waiting)
        future = self.pool.submit(submit, self.group, *map(report, tokens), **options)
        deadline = time.monotonic() + BOUND
        while len(self.group._waiting) == before and not future.done():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return future

    def release(self) -> None:
        self.recorder.go_on.set()


def test_a_lone_request_is_recorded_at_once(recorder: Recorder) -> None:
    assert submit(GroupCommit(), report()) == [Outcome.RECORDED]
    assert recorder.calls == [["alice"]]


def test_everything_that_waits_is_recorded_in_one_call(
    recorder: Recorder, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(recorder, pool)
    followers = [busy.submit(f"user{n}") for n in range(10)]
    busy.release()
    assert [future.result(BOUND) for future in followers] == [[Outcome.RECORDED]] * 10
    assert recorder.calls == [["leader"], [f"user{n}" for n in range(10)]]


def test_each_request_gets_its_own_outcomes(recorder: Recorder, pool: ThreadPoolExecutor) -> None:
    busy = Busy(recorder, pool)
    first, second = busy.submit("a", "again"), busy.submit("again")
    busy.release()
    assert first.result(BOUND) == [Outcome.RECORDED, Outcome.DUPLICATE]
    assert second.result(BOUND) == [Outcome.DUPLICATE]


def test_a_bad_request_hurts_only_its_own_caller(
    recorder: Recorder, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(recorder, pool)
    recorder.fails = lambda tokens: DataError("bad") if "bad" in tokens else None
    good, bad, also_good = busy.submit("good"), busy.submit("bad"), busy.submit("also good")
    busy.release()
    assert good.result(BOUND) == also_good.result(BOUND) == [Outcome.RECORDED]
    with pytest.raises(DataError):
        bad.result(BOUND)
    assert recorder.calls[1:] == [["good", "bad", "also good"], ["good"], ["bad"], ["also good"]]


def test_a_busy_database_is_told_to_all_and_nothing_is_tried_twice(
    recorder: Recorder, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(recorder, pool)
    recorder.fails = lambda tokens: OperationalError("database is locked")
    followers = [busy.submit("a"), busy.submit("b")]
    busy.release()
    for future in [busy.leader, *followers]:
        with pytest.raises(OperationalError):
            future.result(BOUND)
    assert recorder.calls == [["leader"], ["a", "b"]]


def test_what_a_dead_node_of_the_database_keeps_hurts_only_those_who_need_it(
    recorder: Recorder, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.current(), "is_about_a_part", lambda error: True)
    busy = Busy(recorder, pool)
    recorder.fails = lambda tokens: OperationalError("no node") if "dead" in tokens else None
    alive, dead, also_alive = busy.submit("alive"), busy.submit("dead"), busy.submit("also alive")
    busy.release()
    assert alive.result(BOUND) == also_alive.result(BOUND) == [Outcome.RECORDED]
    with pytest.raises(OperationalError):
        dead.result(BOUND)
    assert recorder.calls[1:] == [
        ["alive", "dead", "also alive"],
        ["alive"],
        ["dead"],
        ["also alive"],
    ]


def test_a_lone_request_that_a_dead_node_keeps_is_not_tried_twice(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.current(), "is_about_a_part", lambda error: True)
    recorder.fails = lambda tokens: OperationalError("no node")
    with pytest.raises(OperationalError, match="no node"):
        submit(GroupCommit(), report("dead"))
    assert recorder.calls == [["dead"]]


def test_the_metrics_tell_of_each_group_its_time_its_reports_and_the_bytes_of_servers(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []
    sizes: list[int] = []
    counted: list[tuple[str, int, int]] = []
    monkeypatch.setattr(metrics.COMMIT_SECONDS, "observe", times.append)
    monkeypatch.setattr(metrics.GROUP_REPORTS, "observe", sizes.append)
    monkeypatch.setattr(metrics, "count_bytes", lambda *sums: counted.append(sums))
    before = metrics.RECORDED._value.get(), metrics.DUPLICATE._value.get()
    submit(GroupCommit(), report(), report("bob"), report("again"), report(server="other.example"))
    assert len(times) == 1
    assert 0 <= times[0] < BOUND
    assert sizes == [4]
    assert counted == [("vpn.example.com", 2, 4), ("other.example", 1, 2)]
    after = metrics.RECORDED._value.get(), metrics.DUPLICATE._value.get()
    assert (after[0] - before[0], after[1] - before[1]) == (3, 1)


def test_the_queue_goes_on_after_a_failure(recorder: Recorder) -> None:
    group = GroupCommit()
    recorder.fails = lambda tokens: OperationalError("database is locked")
    with pytest.raises(OperationalError):
        submit(group, report())
    recorder.fails = lambda tokens: None
    assert submit(group, report()) == [Outcome.RECORDED]


def test_a_leader_that_is_interrupted_leaves_nobody_waiting(
    recorder: Recorder, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(recorder, pool)
    recorder.fails = lambda tokens: SystemExit(1) if "a" in tokens else None
    leader, follower = busy.submit("a"), busy.submit("b")
    busy.release()
    with pytest.raises(SystemExit):
        leader.result(BOUND)
    with pytest.raises(OperationalError):
        follower.result(BOUND)
    recorder.fails = lambda tokens: None
    assert submit(busy.group, report("c")) == [Outcome.RECORDED]


def test_who_has_waited_too_long_gives_up_and_is_not_counted(
    recorder: Recorder, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(recorder, pool)
    monkeypatch.setattr(transactions, "DEADLINE", 0.01)
    with pytest.raises(OperationalError):
        busy.submit("late").result(BOUND)
    busy.release()
    assert busy.leader.result(BOUND) == [Outcome.RECORDED]
    assert recorder.calls == [["leader"]]


def test_who_times_out_while_it_is_made_leader_leads(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = GroupCommit()
    group._has_leader = True

    def late(request: group_commit._Request[Any], seconds: float) -> bool:
        """It has not heard of its turn when its time is over; the leader hands over in that moment."""
        woken, request.is_woken = request.is_woken, True
        return woken

    monkeypatch.setattr(group_commit._Request, "wait", late)
    assert submit(group, report("late")) == [Outcome.RECORDED]
    monkeypatch.undo()
    assert not group._has_leader
    assert not group._waiting


def taken(monkeypatch: pytest.MonkeyPatch) -> group_commit._Request[Any]:
    """A request whose deadline has passed while its leader records it."""
    monkeypatch.setattr(transactions, "DEADLINE", -1)
    request = group_commit._Request(Reports([report()]), timezone.now(), create_subscribers=False)
    request.is_taken = True
    return request


def test_whose_report_is_being_recorded_waits_for_the_truth(
    monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    request = taken(monkeypatch)
    follower = pool.submit(GroupCommit()._follow, request)
    request.wake()
    follower.result(BOUND)


def test_a_commit_that_never_ends_keeps_nobody_waiting_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "LAST_WAIT", 0.01)
    with pytest.raises(OperationalError, match="disk does not answer"):
        GroupCommit()._follow(taken(monkeypatch))


def test_a_leader_waits_for_its_turn_no_longer_than_since_it_came(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def turn(until: float) -> Any:
        asked.append(until - time.monotonic())
        return nullcontext()

    monkeypatch.setattr(group_commit, "write_turn", turn)
    monkeypatch.setattr(transactions, "DEADLINE", 100.0)
    submit(GroupCommit(), report())
    assert 0 < asked[0] <= 100


def test_a_group_is_recorded_at_the_latest_moment_of_its_requests(
    recorder: Recorder, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(recorder, pool)
    early, late = timezone.now() + timedelta(hours=1), timezone.now() + timedelta(hours=2)
    for moment in (late, early):
        before = len(busy.group._waiting)
        pool.submit(busy.group.submit, Reports([report()]), moment)
        deadline = time.monotonic() + BOUND
        while len(busy.group._waiting) == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    last = busy.submit("last")
    busy.release()
    last.result(BOUND)
    assert recorder.moments[1:] == [late]


def test_the_child_of_a_fork_begins_with_an_empty_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = GroupCommit()
    parent._has_leader = True
    monkeypatch.setattr(group_commit, "_queue", parent)
    child = os.fork()
    if not child:
        afresh = group_commit._queue is not parent and not group_commit._queue._has_leader
        os._exit(0 if afresh else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert group_commit._queue is parent


def test_a_turn_that_does_not_come_is_told_to_its_leader_and_the_next_tries(
    recorder: Recorder, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(recorder, pool)
    first, second = busy.submit("first"), busy.submit("second")
    turns = iter([OperationalError("The database stayed busy.")])

    @contextmanager
    def only_the_second_comes(until: float) -> Iterator[None]:
        for error in turns:
            raise error
        yield

    monkeypatch.setattr(group_commit, "write_turn", only_the_second_comes)
    busy.release()
    with pytest.raises(OperationalError, match="stayed busy"):
        first.result(BOUND)
    assert second.result(BOUND) == [Outcome.RECORDED]
    assert recorder.calls == [["leader"], ["second"]]


def test_who_comes_while_the_leader_waits_for_its_turn_is_in_its_group(
    recorder: Recorder, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = threading.Lock()
    monkeypatch.setattr(group_commit, "write_turn", lambda until: turn)
    group = GroupCommit()
    with turn:
        futures = [pool.submit(submit, group, report(f"user{n}")) for n in range(5)]
        deadline = time.monotonic() + BOUND
        while len(group._waiting) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    assert [future.result(BOUND) for future in futures] == [[Outcome.RECORDED]] * 5
    assert len(recorder.calls) == 1


def test_more_than_may_wait_is_refused(
    recorder: Recorder, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING", 3)
    busy = Busy(recorder, pool)
    fits = busy.submit("a", "b", "c")
    with pytest.raises(OperationalError):
        submit(busy.group, report("one too many"))
    busy.release()
    assert fits.result(BOUND) == [Outcome.RECORDED] * 3


def test_a_group_is_no_larger_than_a_transaction_should_be(
    recorder: Recorder, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP", 3)
    busy = Busy(recorder, pool)
    futures = [
        busy.submit("a", "b"),
        busy.submit("c"),
        busy.submit("d", "e", "f", "g"),
        busy.submit("h"),
    ]
    busy.release()
    assert [len(future.result(BOUND)) for future in futures] == [2, 1, 4, 1]
    assert recorder.calls == [["leader"], ["a", "b", "c"], ["d", "e", "f", "g"], ["h"]]


def test_requests_that_may_create_subscribers_are_not_mixed_with_those_that_may_not(
    recorder: Recorder, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(recorder, pool)
    futures = [busy.submit("open", create_subscribers=True), busy.submit("closed")]
    busy.release()
    for future in futures:
        future.result(BOUND)
    assert recorder.flags == [False, True, False]


@pytest.mark.django_db(transaction=True)
def test_reports_from_many_threads_are_all_counted_once(pool: ThreadPoolExecutor) -> None:
    group = GroupCommit()

    def send(number: int) -> list[Outcome]:
        try:
            reports = [report(f"user{number % 3}", event_id=f"{number}-{n}") for n in range(4)]
            return submit(group, *reports, reports[0], create_subscribers=True)
        finally:
            connection.close()

    outcomes = [outcome for found in pool.map(send, range(32)) for outcome in found]
    assert outcomes.count(Outcome.RECORDED) == 128
    assert outcomes.count(Outcome.DUPLICATE) == 32
    assert sum(Usage.objects.values_list("reports", flat=True)) == 128
    assert sum(ServerUsage.objects.values_list("download", flat=True)) == 256
