"""On PostgreSQL writers add to parts of a server's sum, each to its own, until cleanup puts them together."""

import os
from typing import Any

import pytest

from operations.databases import engine
from tests.traffic.examples import DAY, HOUR, NOW, a_report, assert_sums_agree, stored, window
from traffic.fields import HourField
from traffic.figures import statistics
from traffic.ledger import retention, rollups, verification
from traffic.models import MAX_COUNTER, Server, ServerUsage
from traffic.periods import floor_hour

pytestmark = pytest.mark.django_db
THEN = NOW - 2 * HOUR


@pytest.fixture(autouse=True)
def _parallel_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.current(), "WRITERS", 4)


def written_by(process: int, monkeypatch: pytest.MonkeyPatch, *reports: Any) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: process)
        stored(*reports)


def slots() -> list[int]:
    return sorted(ServerUsage.objects.values_list("slot", flat=True))


def test_writers_in_parallel_add_to_rows_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for process in (100, 101, 102, 103, 104):
        written_by(process, monkeypatch, a_report(upload=1))
    assert slots() == [-4, -3, -2, -1]
    assert sum(ServerUsage.objects.values_list("upload", flat=True)) == 5
    assert_sums_agree()


def test_a_writer_that_is_alone_needs_no_rows_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.current(), "WRITERS", 1)
    stored(a_report())
    assert slots() == [0]


def test_figures_are_those_of_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for process in (100, 101):
        written_by(process, monkeypatch, a_report(THEN, upload=1, download=2))
    before = statistics.overall(window(1))
    assert before.total == 6
    retention.gather(NOW)
    assert statistics.overall(window(1)) == before


def test_cleanup_puts_the_parts_of_hours_together_that_are_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for process in (100, 101, 102):
        written_by(process, monkeypatch, a_report(THEN, upload=1), a_report(NOW, upload=10))
    assert retention.gather(NOW) == 3
    gathered = ServerUsage.objects.get(slot=rollups.SLOT)
    assert (gathered.hour, gathered.upload, gathered.records) == (floor_hour(THEN), 3, 1)
    assert len(slots()) == 4
    assert_sums_agree()
    assert retention.gather(NOW) == 0


def test_what_comes_after_cleanup_is_gathered_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    written_by(100, monkeypatch, a_report(THEN, upload=1))
    retention.gather(NOW)
    written_by(101, monkeypatch, a_report(THEN, upload=2))
    assert retention.gather(NOW) == 1
    assert ServerUsage.objects.get().upload == 3
    assert_sums_agree()


def test_parts_are_gathered_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 2)
    for process in range(100, 104):
        written_by(process, monkeypatch, a_report(THEN, upload=process))
    steps: list[int] = []
    assert retention.gather(NOW, steps.append) == 4
    assert steps == [2, 2]
    assert_sums_agree()


def test_parts_that_do_not_fit_one_counter_are_spread_over_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for process in (100, 101):
        report = a_report(THEN, user_token=f"user{process}", upload=MAX_COUNTER)
        written_by(process, monkeypatch, report)
    retention.gather(NOW)
    assert slots() == [0, 1]
    assert_sums_agree()


def test_old_hours_are_gathered_before_they_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    old = NOW - 40 * DAY
    for process in (100, 101):
        written_by(process, monkeypatch, a_report(old, upload=1), a_report(old + HOUR, upload=1))
    retention.fold(NOW)
    assert ServerUsage.objects.get().upload == 4
    assert_sums_agree()


def test_deleted_records_leave_no_part_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    for process in (100, 101):
        written_by(process, monkeypatch, a_report(NOW - 9 * DAY, user_token=f"user{process}"))
    assert retention.delete_records(1, NOW) == 2
    assert not ServerUsage.objects.exists()
    assert_sums_agree()


def test_a_part_that_another_writer_adds_meanwhile_is_not_deleted_with_the_empty_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored(a_report(THEN))
    server, hour = Server.objects.get().pk, floor_hour(THEN)
    ServerUsage.objects.update(records=0, slot=-1)
    rows = type(ServerUsage.objects.all())
    delete, late = rows.delete, ServerUsage(server_id=server, hour=hour, slot=-2, records=1)

    def delete_late(found: Any) -> Any:
        late.save(force_insert=True)
        return delete(found)

    monkeypatch.setattr(rows, "delete", delete_late)
    rollups.drop_empty_server_usage(server, [HourField.to_number(hour)])
    assert slots() == [-2]


def test_verification_repairs_a_sum_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for process in (100, 101):
        written_by(process, monkeypatch, a_report(THEN, upload=1))
    ServerUsage.objects.filter(slot=slots()[0]).update(upload=9)
    assert len(list(verification.differences(repair=True))) == 1
    assert slots() == [0]
    assert_sums_agree()
