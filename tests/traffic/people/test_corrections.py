"""Corrections of usage: separate entries that can be undone and always agree with the sums."""

import threading
from datetime import datetime
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings

from operations.audit import By
from operations.models import AuditEntry
from tests.traffic.examples import (
    DAY,
    GB,
    HOUR,
    NOW,
    a_report,
    assert_sums_agree,
    balance,
    stored,
    subscriber,
    window,
)
from traffic.figures import statistics
from traffic.ledger import recording, retention, verification
from traffic.models import MAX_COUNTER, Balance, Correction, Subscriber, Usage
from traffic.people import corrections

pytestmark = pytest.mark.django_db

EVA = By("eva", NOW)


def corrected(upload: int, download: int = 0, at: datetime = NOW, **fields: Any) -> Correction:
    made = Correction(
        subscriber=subscriber(), upload=upload, download=download, reason="counted twice", **fields
    )
    corrections.make(made, By("eva", at))
    return made


def counters() -> tuple[int, int, int, int]:
    found = balance()
    return found.period_upload, found.period_download, found.life_upload, found.life_download


def test_a_correction_changes_period_and_life() -> None:
    stored(a_report(upload=100, download=200))
    corrected(-40, 50)
    assert counters() == (60, 250, 60, 250)
    assert_sums_agree()


def test_it_changes_neither_records_nor_the_sums_of_servers() -> None:
    stored(a_report(upload=100, download=200))
    before = (
        list(Usage.objects.values_list()),
        statistics.overall(window()),
        statistics.user("user123", window()),
    )
    corrected(-40, 50)
    after = (
        list(Usage.objects.values_list()),
        statistics.overall(window()),
        statistics.user("user123", window()),
    )
    assert after == before


def test_it_is_no_use() -> None:
    """A correction is not usage: the last use and the number of users do not change."""
    stored(a_report())
    before = balance().last_used_at
    corrected(5, at=NOW + DAY)
    assert balance().last_used_at == before
    assert balance().life_reports == 1


def test_header_and_limit_read_what_was_corrected() -> None:
    stored(a_report(upload=100, download=200))
    corrected(-100, -100)
    usage = statistics.usage_of(subscriber(), NOW)
    assert (usage.period_upload, usage.period_download, usage.life_total) == (0, 100, 100)


def test_a_correction_tells_who_when_and_why() -> None:
    stored(a_report(upload=100))
    corrected(-40)
    entry = Correction.objects.get()
    assert (entry.author, entry.made_at, entry.reason, entry.undone_at) == (
        "eva",
        NOW,
        "counted twice",
        None,
    )
    noted = AuditEntry.objects.get()
    assert (noted.author, noted.action, noted.target_id) == ("eva", "corrected", subscriber().pk)
    assert noted.changes == {"upload": [None, -40], "reason": [None, "counted twice"]}


def test_undone_all_is_as_before() -> None:
    stored(a_report(upload=100, download=200))
    correction = corrected(-40, 50)
    assert corrections.undo(correction, By("ivan", NOW + HOUR))
    assert counters() == (100, 200, 100, 200)
    entry = Correction.objects.get()
    assert (entry.undone_by, entry.undone_at) == ("ivan", NOW + HOUR)
    assert AuditEntry.objects.filter(author="ivan", action="correction undone").exists()
    assert_sums_agree()


def test_it_is_undone_once() -> None:
    stored(a_report(upload=100))
    correction = corrected(-40)
    assert corrections.undo(correction, EVA)
    assert not corrections.undo(correction, EVA)
    assert balance().life_upload == 100


@pytest.mark.parametrize(("upload", "is_made"), [(-99, True), (-100, True), (-101, False)])
def test_nothing_falls_below_zero(upload: int, is_made: bool) -> None:
    stored(a_report(upload=100))
    if is_made:
        corrected(upload)
        assert balance().life_upload == 100 + upload
    else:
        with pytest.raises(corrections.CorrectionError, match="below zero"):
            corrected(upload)
        assert balance().life_upload == 100
        assert not Correction.objects.exists()
        assert not AuditEntry.objects.exists()
    assert_sums_agree()


@pytest.mark.parametrize(
    ("upload", "is_made"), [(MAX_COUNTER - 1, True), (MAX_COUNTER, False), (2**70, False)]
)
def test_nothing_passes_the_bound(upload: int, is_made: bool) -> None:
    stored(a_report())
    if is_made:
        corrected(upload)
        assert balance().life_upload == MAX_COUNTER
    else:
        with pytest.raises(corrections.CorrectionError, match="1024 PB"):
            corrected(upload)
    assert_sums_agree()


def test_a_correction_of_nothing_is_refused() -> None:
    stored(a_report())
    with pytest.raises(corrections.CorrectionError, match="Nothing would change"):
        corrected(0)


def test_an_undoing_that_would_fall_below_zero_is_refused() -> None:
    stored(a_report(upload=10))
    first = corrected(100)
    corrected(-105)
    with pytest.raises(corrections.CorrectionError):
        corrections.undo(first, EVA)
    assert Correction.objects.filter(undone_at=None).count() == 2
    assert balance().life_upload == 5


def test_without_any_report_something_can_be_added() -> None:
    Subscriber.objects.create(token="user123", limit_reset="monthly")
    corrected(100)
    assert counters() == (100, 0, 100, 0)
    assert [str(found) for found in verification.differences()] == []


def test_the_life_alone_may_be_corrected() -> None:
    stored(a_report(upload=100))
    Subscriber.objects.update(limit_reset="monthly")
    recording.recount_period(subscriber(), NOW)
    correction = corrected(-40, in_period=False)
    assert counters() == (100, 2, 60, 2)
    corrections.undo(correction, EVA)
    assert counters() == (100, 2, 100, 2)


def test_a_period_without_beginning_is_the_life_and_always_corrected() -> None:
    stored(a_report(upload=100))
    corrected(-40, in_period=False)
    assert counters() == (60, 2, 60, 2)


def test_in_a_new_period_it_begins_with_the_correction() -> None:
    stored(a_report(upload=100))
    Subscriber.objects.update(limit_reset="daily")
    recording.recount_period(subscriber(), NOW)
    corrected(7, at=NOW + DAY)
    assert counters() == (7, 0, 107, 2)
    usage = statistics.usage_of(subscriber(), NOW + DAY)
    assert (usage.period_upload, usage.period_download) == (7, 0)
    stored(a_report(NOW + DAY, upload=1), now=NOW + DAY)
    assert balance().period_upload == 8
    assert_sums_agree()


def test_undone_after_its_period_only_the_life_changes() -> None:
    Subscriber.objects.create(token="user123", limit_reset="daily")
    stored(a_report(upload=100))
    correction = corrected(-40)
    stored(a_report(NOW + DAY, upload=5), now=NOW + DAY)
    corrections.undo(correction, By("eva", NOW + DAY))
    assert counters() == (5, 2, 105, 4)
    assert_sums_agree()


def test_undone_after_the_period_was_restarted_only_the_life_changes() -> None:
    stored(a_report(upload=100))
    correction = corrected(50)
    recording.restart_period(subscriber(), NOW + HOUR)
    corrections.undo(correction, By("eva", NOW + 2 * HOUR))
    assert counters() == (0, 0, 100, 2)


def test_a_period_that_is_counted_anew_keeps_its_corrections(settings: Settings) -> None:
    settings.XPERT_TIME_ZONE = "UTC"
    stored(a_report(upload=100), a_report(NOW - DAY, upload=1000))
    corrected(-30)
    corrected(-5, at=NOW - DAY)
    corrections.undo(corrected(-1), EVA)
    Subscriber.objects.update(limit_reset="daily")
    recording.recount_period(subscriber(), NOW)
    assert balance().period_upload == 70
    Subscriber.objects.update(limit_reset="never")
    recording.recount_period(subscriber(), NOW)
    assert balance().period_upload == balance().life_upload == 1065


def test_cleanup_leaves_corrections_alone() -> None:
    stored(a_report(upload=100), a_report(NOW - 60 * DAY, upload=GB))
    corrected(-40)
    retention.delete_records(0, NOW)
    assert balance().life_upload == GB + 60
    assert [str(found) for found in verification.differences()] == []


def test_check_traffic_finds_a_life_that_its_corrections_do_not_explain() -> None:
    stored(a_report(upload=100))
    corrected(-40)
    Correction.objects.update(upload=-41)
    (difference,) = verification.differences()
    assert "life_upload is 60, the records say 59" in str(difference)
    assert "corrected_upload is -40, the records say -41" in str(difference)


@pytest.mark.django_db(transaction=True)
def test_reports_and_corrections_at_once_lose_nothing() -> None:
    stored(a_report(upload=1000, download=0))
    failures: list[BaseException] = []

    def run(work: Any) -> None:
        try:
            for number in range(15):
                work(number)
        except BaseException as error:  # noqa: BLE001  a thread's failure must fail the test
            failures.append(error)
        finally:
            connections.close_all()

    def report(number: int) -> None:
        stored(a_report(upload=10, download=0))

    def correct(number: int) -> None:
        made = corrected(-3)
        if number % 3 == 0:
            assert corrections.undo(made, EVA)

    threads = [
        threading.Thread(target=run, args=(work,)) for work in (report, report, correct, correct)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    # 30 reports of 10, and 30 corrections of -3, of which every third was undone.
    assert balance().life_upload == 1000 + 300 - 60
    assert balance().period_upload == balance().life_upload
    assert Balance.objects.get().corrected_upload == -60
    assert_sums_agree()


def test_an_entry_reads_as_what_it_does() -> None:
    stored(a_report(upload=100))
    assert str(corrected(-40, 5)) == "-40 +5: counted twice"
