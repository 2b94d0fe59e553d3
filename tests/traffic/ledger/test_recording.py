import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError, OperationalError, connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries

from operations.databases import engine, postgresql
from tests.traffic.examples import (
    DAY,
    HOUR,
    NOW,
    a_report,
    assert_sums_agree,
    balance,
    rows_stored,
    stored,
    subscriber,
    sums,
    window,
)
from traffic.figures import statistics
from traffic.ledger import rollups
from traffic.ledger.desk import Desk
from traffic.ledger.recording import NO_RULES, Outcome, Reports, Work, record, write
from traffic.models import (
    MAX_COUNTER,
    Balance,
    ReceivedEvent,
    Server,
    ServerUsage,
    Subscriber,
    Usage,
)
from traffic.periods import EPOCH
from traffic.reports import Report

pytestmark = pytest.mark.django_db

RECORDED, DUPLICATE, UNKNOWN, FULL = (
    Outcome.RECORDED,
    Outcome.DUPLICATE,
    Outcome.UNKNOWN_TOKEN,
    Outcome.COUNTER_FULL,
)
THIS_HOUR = NOW.replace(minute=0, second=0)


# --- sums --------------------------------------------------------------------


def test_one_report_is_added_to_every_table() -> None:
    assert stored(a_report(upload=10, download=20)) == [RECORDED]
    usage = Usage.objects.get()
    assert (usage.subscriber.token, usage.hour, usage.server.host) == (
        "user123",
        THIS_HOUR,
        "vpn.example.com",
    )
    assert (usage.upload, usage.download, usage.reports, usage.last_used_at) == (10, 20, 1, NOW)
    total = ServerUsage.objects.get()
    assert (total.hour, total.upload, total.download, total.reports, total.records) == (
        THIS_HOUR,
        10,
        20,
        1,
        1,
    )
    found = balance()
    assert (found.life_upload, found.life_download, found.life_reports) == (10, 20, 1)
    assert (found.period_upload, found.period_download, found.period_start) == (10, 20, EPOCH)
    assert (found.cleaned_upload, found.cleaned_download, found.cleaned_reports) == (0, 0, 0)
    assert found.last_used_at == NOW


def test_nothing_to_record_is_recorded() -> None:
    assert record([], NOW) == []
    assert not any(rows_stored().values())


def test_reports_of_one_hour_and_server_share_a_row_in_one_call_or_in_two() -> None:
    stored(
        a_report(upload=1, download=2), a_report(NOW + timedelta(minutes=9), upload=10, download=20)
    )
    stored(a_report(NOW - timedelta(minutes=20), upload=100, download=200))
    usage = Usage.objects.get()
    assert (usage.upload, usage.download, usage.reports) == (111, 222, 3)
    assert usage.last_used_at == NOW + timedelta(minutes=9)
    assert balance().last_used_at == NOW + timedelta(minutes=9)
    assert ServerUsage.objects.get().records == 1
    assert_sums_agree()


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "trojan"},
        {"port": 8443},
        {"server": "b.example"},
        {"moment": 0},
        {"user_token": "bob"},
    ],
)
def test_what_differs_has_a_row_of_its_own(other: dict[str, Any]) -> None:
    stored(a_report(), a_report(**other), a_report())
    assert sorted(usage.reports for usage in Usage.objects.all()) == [1, 2]
    assert_sums_agree()


def test_an_hour_begins_with_its_first_second() -> None:
    stored(a_report(THIS_HOUR), a_report(THIS_HOUR - timedelta(seconds=1)))
    assert sorted(usage.hour for usage in Usage.objects.all()) == [THIS_HOUR - HOUR, THIS_HOUR]


def test_the_rollup_counts_the_records_of_all_subscribers() -> None:
    stored(a_report(), a_report(user_token="bob"))
    stored(a_report(user_token="bob"), a_report(user_token="carol"))
    assert ServerUsage.objects.get().records == 3
    assert_sums_agree()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 2),
            st.integers(0, 50),
            st.integers(0, 2**50),
            st.integers(0, 2**50),
        ),
        max_size=30,
    ),
    st.integers(1, 10),
)
@pytest.mark.django_db
def test_whatever_is_recorded_in_whatever_portions_is_in_every_sum(
    drawn: list[tuple[int, int, int, int, int]], portion: int
) -> None:
    for model in (Usage, ServerUsage, Balance):
        model._default_manager.all().delete()
    reports = [
        a_report(
            NOW - hours * HOUR,
            user_token=f"user{who}",
            server=f"s{where}.example",
            upload=upload,
            download=download,
        )
        for who, where, hours, upload, download in drawn
    ]
    for start in range(0, len(reports), portion):
        stored(*reports[start : start + portion])
    expected = (sum(r.upload for r in reports), sum(r.download for r in reports), len(reports))
    assert set(sums(Usage, ServerUsage).values()) == {expected}
    assert_sums_agree()


def test_a_batch_larger_than_a_statement_is_recorded_whole() -> None:
    reports = [a_report(user_token=f"user{number}", event_id="x") for number in range(2100)]
    assert stored(*reports) == [RECORDED] * 2100
    assert stored(*reports[::-1]) == [DUPLICATE] * 2100
    assert sums(Usage, ServerUsage) == {
        "Usage": (2100, 4200, 2100),
        "ServerUsage": (2100, 4200, 2100),
    }
    assert ServerUsage.objects.get().records == 2100


def test_recording_costs_few_queries_and_hardly_more_for_many_reports(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    stored(
        *[a_report(user_token=f"user{number}", server=f"s{number}.example") for number in range(20)]
    )
    # Savepoint and its release; subscribers; servers; one upsert for each of the three tables.
    with django_assert_num_queries(7):
        stored(a_report(user_token="user1", server="s1.example"))
    few = [a_report(user_token=f"user{n % 16}", server=f"s{n % 16}.example") for n in range(200)]
    with django_assert_num_queries(7):
        stored(*few)
    # 20 subscribers and 19 servers on 380 records: each look-up and upsert goes out in powers of two of rows.
    many = [a_report(user_token=f"user{n % 20}", server=f"s{n % 19}.example") for n in range(500)]
    of_records = {"sqlite": 6, "postgresql": 5}[connection.vendor]  # of at most 128 or 1024 rows
    with django_assert_num_queries(2 + 2 + 2 + of_records + 2 + 2):
        stored(*many)
    with django_assert_num_queries(8):  # event ids are claimed
        stored(a_report(user_token="user1", server="s1.example", event_id="x"))
    with django_assert_num_queries(5):  # nothing to add
        stored(a_report(user_token="user1", server="s1.example", event_id="x"))


# --- who may report ----------------------------------------------------------


def test_an_unknown_token_is_refused_and_leaves_no_trace() -> None:
    baker.make(Subscriber, token="user123")
    reports = [
        a_report(),
        a_report(user_token="nobody", server="other.example", event_id="x"),
        a_report(),
    ]
    assert record(reports, NOW) == [RECORDED, UNKNOWN, RECORDED]
    assert rows_stored() == {
        "Subscriber": 1, "Server": 1, "Usage": 1, "ServerUsage": 1, "Balance": 1, "ReceivedEvent": 0,
    }  # fmt: skip


def test_in_open_access_an_unknown_token_becomes_a_subscriber() -> None:
    assert stored(a_report(), a_report(user_token="new")) == [RECORDED, RECORDED]
    assert subscriber("new").is_active
    assert Subscriber.objects.count() == 2


@pytest.mark.parametrize("create", [False, True])
def test_a_deleted_subscriber_is_unknown_and_stays_deleted(create: bool) -> None:
    baker.make(Subscriber, token="user123", hidden_at=NOW)
    assert record([a_report()], NOW, create_subscribers=create) == [UNKNOWN]
    assert subscriber().hidden_at == NOW
    assert not Usage.objects.exists()


@pytest.mark.parametrize(
    "state", [{"is_active": False}, {"expires_at": NOW - DAY}, {"data_limit": 1}]
)
def test_reports_for_who_is_shut_out_are_counted(state: dict[str, Any]) -> None:
    baker.make(Subscriber, token="user123", **state)
    assert record([a_report()], NOW) == [RECORDED]
    assert balance().life_download == 2


# --- event ids ---------------------------------------------------------------


def test_an_event_counts_once() -> None:
    assert stored(a_report(event_id="x")) == [RECORDED]
    before = sums(Usage, ServerUsage)
    assert stored(
        a_report(event_id="x", upload=99, server="other.example"), now=NOW + 30 * DAY
    ) == [DUPLICATE]
    assert sums(Usage, ServerUsage) == before
    assert Server.objects.count() == 1
    assert ReceivedEvent.objects.get().received == THIS_HOUR


def test_of_two_equal_events_in_one_batch_the_first_counts() -> None:
    reports = [
        a_report(event_id="x", upload=1),
        a_report(event_id="x", upload=10),
        a_report(event_id="y", upload=100),
    ]
    assert stored(*reports) == [RECORDED, DUPLICATE, RECORDED]
    assert Usage.objects.get().upload == 101


def test_an_event_belongs_to_its_subscriber() -> None:
    assert stored(a_report(event_id="x"), a_report(user_token="bob", event_id="x")) == [
        RECORDED,
        RECORDED,
    ]


def test_event_ids_tell_upper_from_lower_case() -> None:
    assert stored(a_report(event_id="x"), a_report(event_id="X")) == [RECORDED, RECORDED]


def test_reports_without_an_event_always_count() -> None:
    assert stored(a_report(), a_report()) == [RECORDED, RECORDED]
    assert stored(a_report()) == [RECORDED]
    assert not ReceivedEvent.objects.exists()


# --- bounds ------------------------------------------------------------------


@pytest.mark.parametrize("way", ["upload", "download"])
def test_a_counter_may_reach_2_to_the_60_and_not_pass_it(way: str) -> None:
    assert stored(a_report(**{way: MAX_COUNTER - 1})) == [RECORDED]
    assert stored(a_report(**{way: 2})) == [FULL]
    assert stored(a_report(**{way: 1})) == [RECORDED]
    assert stored(a_report(**{way: 1})) == [FULL]
    assert stored(a_report(upload=0, download=0)) == [RECORDED]
    assert getattr(balance(), f"life_{way}") == MAX_COUNTER
    assert balance().life_reports == 3
    assert_sums_agree()


def test_the_life_counter_alone_is_bound_too() -> None:
    stored(a_report(upload=MAX_COUNTER, server="a.example"))
    assert stored(a_report(NOW - HOUR, upload=1, server="b.example")) == [FULL]
    assert_sums_agree()


def test_the_sum_of_a_server_goes_on_past_the_bound_of_one_counter() -> None:
    stored(a_report(upload=MAX_COUNTER))
    people = [a_report(user_token=f"user{n}", upload=MAX_COUNTER) for n in range(3)]
    assert stored(a_report(user_token="bob", upload=1, event_id="x"), *people) == [RECORDED] * 4
    assert sums(ServerUsage)["ServerUsage"][0] == 4 * MAX_COUNTER + 1
    assert statistics.overall(window()).total == 4 * MAX_COUNTER + 1 + 10
    assert_sums_agree()


def test_of_a_batch_only_what_passes_the_bound_is_refused() -> None:
    reports = [
        a_report(upload=MAX_COUNTER - 5),
        a_report(upload=6),
        a_report(user_token="bob", upload=7),  # the server is as full
        a_report(user_token="bob", server="b.example", upload=8),
        a_report(upload=5),
    ]
    assert stored(*reports) == [RECORDED, FULL, RECORDED, RECORDED, RECORDED]
    assert balance().life_upload == MAX_COUNTER
    assert balance("bob").life_upload == 15
    assert_sums_agree()


def test_a_batch_that_passes_the_bound_many_times_over_is_recorded_up_to_it() -> None:
    reports = [a_report(upload=2**59, download=2**59) for _ in range(50)]
    assert stored(*reports) == [RECORDED] * 2 + [FULL] * 48
    assert_sums_agree()


def test_what_is_refused_leaves_no_trace_and_no_claim() -> None:
    stored(a_report(upload=MAX_COUNTER))
    before = sums(Usage, ServerUsage)
    assert stored(a_report(upload=1, event_id="x"), a_report(upload=1, event_id="x")) == [
        FULL,
        FULL,
    ]
    assert sums(Usage, ServerUsage) == before
    assert not ReceivedEvent.objects.exists()
    assert stored(a_report(upload=0, event_id="x"), a_report(upload=0, event_id="x")) == [
        RECORDED,
        DUPLICATE,
    ]


def test_a_duplicate_in_a_batch_with_a_refusal_stays_a_duplicate() -> None:
    stored(a_report(event_id="old"), a_report(upload=MAX_COUNTER - 1))
    reports = [
        a_report(event_id="old"),
        a_report(upload=1, event_id="new"),
        a_report(upload=0, event_id="new2"),
    ]
    assert stored(*reports) == [DUPLICATE, FULL, RECORDED]
    assert set(ReceivedEvent.objects.values_list("event_id", flat=True)) == {"old", "new2"}


def test_an_unknown_token_beside_a_refusal_stays_unknown() -> None:
    baker.make(Subscriber, token="user123")
    record([a_report(upload=MAX_COUNTER)], NOW)
    reports = [a_report(user_token="nobody", event_id="x"), a_report(upload=1, event_id="x")]
    assert record(reports, NOW) == [UNKNOWN, FULL]


def test_counters_that_stay_contended_are_a_database_that_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def contended(*_: object) -> None:
        raise IntegrityError

    monkeypatch.setattr(rollups, "add_balances", contended)
    with pytest.raises(OperationalError, match="contended"):
        stored(a_report(event_id="x"))
    assert not any(rows_stored().values())


def test_a_counter_that_another_writer_fills_meanwhile_is_looked_up_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_balances, calls = rollups.add_balances, []

    def contended_twice(sums: Any) -> None:
        calls.append(sums)
        if len(calls) < 3:
            raise IntegrityError
        add_balances(sums)

    monkeypatch.setattr(rollups, "add_balances", contended_twice)
    assert stored(a_report()) == [RECORDED]
    assert balance().life_reports == 1


# --- deadlocks ---------------------------------------------------------------


def deadlock(sqlstate: str) -> OperationalError:
    error, cause = OperationalError("deadlock detected"), Exception()
    cause.sqlstate = sqlstate  # type: ignore[attr-defined]
    error.__cause__ = cause
    return error


class Deadlocked:
    """Stands in for ``add_server_usage`` and fails so many times."""

    def __init__(self, times: int, sqlstate: str) -> None:
        self.left, self.sqlstate, self.calls = times, sqlstate, 0
        self.original = rollups.add_server_usage

    def __call__(self, *args: Any) -> None:
        self.calls += 1
        if self.calls <= self.left:
            raise deadlock(self.sqlstate)
        self.original(*args)


def retry_as_on_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.current(), "may_be_retried", postgresql.may_be_retried)
    monkeypatch.setattr("operations.databases.transactions.time.sleep", lambda _: None)


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
def test_a_transaction_that_was_given_up_for_another_is_run_again(
    sqlstate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_as_on_postgresql(monkeypatch)
    deadlocked = Deadlocked(4, sqlstate)
    monkeypatch.setattr(rollups, "add_server_usage", deadlocked)
    assert stored(a_report(event_id="x")) == [RECORDED]
    assert deadlocked.calls == 5
    assert_sums_agree()


def test_it_is_not_run_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    retry_as_on_postgresql(monkeypatch)
    deadlocked = Deadlocked(99, "40P01")
    monkeypatch.setattr(rollups, "add_server_usage", deadlocked)
    with pytest.raises(OperationalError):
        stored(a_report())
    assert deadlocked.calls == 5
    assert not Usage.objects.exists()


@pytest.mark.parametrize("sqlstate", ["53100", ""])
def test_a_full_disk_is_no_reason_to_try_again(
    sqlstate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_as_on_postgresql(monkeypatch)
    deadlocked = Deadlocked(99, sqlstate)
    monkeypatch.setattr(rollups, "add_server_usage", deadlocked)
    with pytest.raises(OperationalError):
        stored(a_report())
    assert deadlocked.calls == 1


# --- order -------------------------------------------------------------------


def test_the_order_of_a_batch_changes_no_sum() -> None:
    reports = [
        a_report(user_token=f"user{n % 5}", server=f"s{n % 3}.example", upload=n) for n in range(60)
    ]
    random.Random(5).shuffle(reports)
    stored(*reports)
    assert {found.subscriber.token: found.life_upload for found in Balance.objects.all()} == {
        f"user{who}": sum(range(who, 60, 5)) for who in range(5)
    }
    assert sums(Usage)["Usage"][0] == sum(range(60))
    assert_sums_agree()


def test_tables_are_written_sorted_so_that_two_writers_never_wait_for_each_other_in_a_ring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: dict[str, list[Any]] = {}
    merge = rollups._merge

    def spy(rollup: rollups.Rollup, rows: Any) -> Any:
        written[rollup.model.__name__] = [row[:2] for row in rows]
        return merge(rollup, rows)

    monkeypatch.setattr(rollups, "_merge", spy)
    names = [f"{n}.example" for n in range(9)]
    for event_id, order in (("x", names[::-1]), ("y", names[4:] + names[:4])):
        written.clear()
        stored(*[a_report(user_token=name, server=name, event_id=event_id) for name in order])
        assert list(written) == ["ReceivedEvent", "Usage", "Balance", "ServerUsage"]
        assert all(rows == sorted(rows) for rows in written.values())


def test_a_moment_is_kept_to_the_second() -> None:
    now = timezone.now()
    stored(a_report(now), now=now)
    assert balance().last_used_at == now.replace(microsecond=0)
    assert isinstance(balance().last_used_at, datetime)


# --- work of every kind ------------------------------------------------------


class Renaming:
    """Looks rows up and writes rows of its own in the transaction that counts its reports."""

    size = 1
    rules = NO_RULES

    def __init__(self, name: str, *, fails: bool = False) -> None:
        self.name = name
        self.fails = fails
        self.token = ""

    @classmethod
    def prepare(cls, works: Sequence[Any], desk: Desk) -> None:
        for work in works:
            work.token = Subscriber.objects.get().token

    def reports(self, now: datetime) -> list[Report]:
        token = self.token
        return [a_report(user_token=token, upload=5), a_report(user_token="nobody")]

    def settle(self, outcomes: Sequence[Outcome]) -> str:
        Subscriber.objects.update(name=self.name)
        if self.fails:
            raise DataError("bad")
        return f"{self.name}: {[outcome.value for outcome in outcomes]}"


def test_works_of_every_kind_are_written_together_and_each_is_told_its_own() -> None:
    Subscriber.objects.create(token="user123")
    works: list[Work[Any]] = [Reports([a_report(upload=1)]), Renaming("Ann")]
    written = write(works, NOW)
    assert written.results == [[RECORDED], "Ann: ['recorded', 'unknown token']"]
    assert written.outcomes == [RECORDED, RECORDED, UNKNOWN]
    assert [report.upload for report in written.reports] == [1, 5, 1]
    assert (balance().life_upload, Subscriber.objects.get().name) == (6, "Ann")


def test_a_work_that_fails_takes_back_what_it_and_the_others_have_written() -> None:
    Subscriber.objects.create(token="user123")
    works: list[Work[Any]] = [Reports([a_report()]), Renaming("Ann", fails=True)]
    with pytest.raises(DataError):
        write(works, NOW)
    assert not Usage.objects.exists()
    assert Subscriber.objects.get().name == ""
