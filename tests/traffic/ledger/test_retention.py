import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from operations.extension import Extension, register
from tests.traffic.examples import (
    DAY,
    HOUR,
    NOW,
    a_report,
    assert_sums_agree,
    balance,
    stored,
    sums,
    window,
)
from traffic.figures import statistics
from traffic.ledger import retention
from traffic.ledger.recording import Outcome
from traffic.models import (
    MAX_COUNTER,
    Balance,
    ReceivedEvent,
    Server,
    ServerUsage,
    Subscriber,
    Usage,
)
from traffic.people import tidying
from traffic.people.lapsed import Lapsed
from traffic.people.tidying import Tidied
from traffic.periods import fold_edge

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
EDGE = fold_edge(NOW)  # 2024-01-09 00:00


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type,misc]


def hours_kept() -> list[datetime]:
    return sorted(usage.hour for usage in Usage.objects.all())


# --- what is old -------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 7, 31, 32])
def test_cleanup_keeps_the_window_of_as_many_days(days: int) -> None:
    edge = window(days).start
    stored(a_report(edge, upload=1), a_report(edge - SECOND, upload=10), a_report(upload=100))
    assert retention.count_records(days, NOW) == 1
    assert retention.delete_records(days, NOW) == 1
    assert hours_kept() == [edge, NOW.replace(minute=0, second=0)]
    assert statistics.user("user123", window(days)).total == 101 + 4
    assert_sums_agree()


@pytest.mark.parametrize("folded", [False, True])
def test_a_folded_day_is_kept_until_the_whole_of_it_is_older(folded: bool) -> None:
    # 40 days ago was the afternoon of January 1.
    stored(
        *[a_report(utc(2024, 1, 1, hour)) for hour in (0, 12, 23)], a_report(utc(2023, 12, 31, 23))
    )
    if folded:
        assert retention.fold(NOW) == 3
    assert retention.delete_records(40, NOW) == 1
    assert hours_kept() == (
        [utc(2024, 1, 1)] if folded else [utc(2024, 1, 1, hour) for hour in (0, 12, 23)]
    )
    assert retention.delete_records(39, NOW) == (1 if folded else 3)
    assert_sums_agree()


def test_zero_days_deletes_every_record_even_of_a_clock_that_ran_ahead() -> None:
    stored(a_report(), a_report(NOW - 400 * DAY), a_report(NOW + 400 * DAY))
    assert retention.count_records(0, NOW) == 3
    assert retention.delete_records(0, NOW) == 3
    assert not Usage.objects.exists()
    assert not ServerUsage.objects.exists()
    assert_sums_agree()


def test_nothing_old_is_nothing_to_delete() -> None:
    assert retention.delete_records(1, NOW) == 0
    stored(a_report())
    assert retention.count_records(1, NOW) == 0
    assert retention.delete_records(1, NOW) == 0
    assert retention.delete_records(3650, NOW) == 0
    assert Usage.objects.count() == 1


# --- what cleanup leaves alone -----------------------------------------------


def test_the_counters_of_a_subscriber_survive_and_the_sums_that_went_are_remembered() -> None:
    stored(a_report(NOW - 50 * DAY, upload=5, download=7), a_report(upload=1, download=2))
    retention.delete_records(10, NOW)
    found = balance()
    assert (found.life_upload, found.life_download, found.life_reports) == (6, 9, 2)
    assert (found.period_upload, found.period_download) == (6, 9)
    assert (found.cleaned_upload, found.cleaned_download, found.cleaned_reports) == (5, 7, 1)
    retention.delete_records(0, NOW)
    found = balance()
    assert (found.life_upload, found.cleaned_upload, found.cleaned_reports) == (6, 6, 2)


def test_subscribers_servers_and_event_ids_stay() -> None:
    stored(a_report(NOW - 20 * DAY, event_id="x"))
    retention.delete_records(0, NOW)
    assert (
        Subscriber.objects.count() == Server.objects.count() == ReceivedEvent.objects.count() == 1
    )
    assert stored(a_report(event_id="x")) == [Outcome.DUPLICATE]


def test_who_has_no_record_left_is_not_counted_any_more() -> None:
    stored(
        a_report(NOW - 20 * DAY),
        a_report(user_token="bob"),
        a_report(NOW - 20 * DAY, user_token="bob"),
    )
    retention.delete_records(10, NOW)
    assert balance().last_used_at is None
    assert balance("bob").last_used_at == NOW
    assert statistics.overall(window(3650)).users == 1
    stored(a_report(NOW - 5 * DAY))
    assert balance().last_used_at == NOW - 5 * DAY
    assert statistics.overall(window(3650)).users == 2
    assert_sums_agree()


def test_between_two_steps_the_last_use_is_that_of_the_records_left() -> None:
    stored(a_report(NOW - 20 * DAY, server="first.example"))
    stored(
        a_report(NOW - 25 * DAY), a_report(NOW - 25 * DAY, user_token="bob", server="first.example")
    )
    seen: list[datetime | None] = []
    retention.delete_records(10, NOW, lambda _: seen.append(balance().last_used_at))
    assert seen == [NOW - 25 * DAY, None]
    assert balance("bob").last_used_at is None


def test_of_one_hour_on_two_servers_each_keeps_its_own() -> None:
    stored(
        a_report(NOW - 20 * DAY),
        a_report(NOW - 20 * DAY, server="b.example"),
        a_report(server="b.example"),
    )
    assert retention.delete_records(10, NOW) == 2
    assert Usage.objects.get().server.host == "b.example"
    assert_sums_agree()


# --- folding -----------------------------------------------------------------


def test_hours_of_old_days_become_their_day_and_no_byte_is_lost() -> None:
    stored(
        a_report(utc(2023, 12, 20, 0, 30), upload=1),
        a_report(utc(2023, 12, 20, 5), upload=10),
        a_report(utc(2023, 12, 20, 23, 59, 59), upload=100),
        a_report(utc(2023, 12, 21, 4), upload=1000),
        a_report(utc(2023, 12, 20, 5), user_token="bob", upload=10_000),
        a_report(utc(2023, 12, 20, 5), server="b.example", upload=100_000),
        a_report(upload=7),
    )
    before = sums(Usage, ServerUsage)
    assert retention.fold(NOW) == 5
    assert sums(Usage, ServerUsage) == before
    day = Usage.objects.get(
        subscriber__token="user123", hour=utc(2023, 12, 20), server__host="vpn.example.com"
    )
    assert (day.upload, day.download, day.reports) == (111, 6, 3)
    assert day.last_used_at == utc(2023, 12, 20, 23, 59, 59)
    assert all(hour.hour == 0 for hour in hours_kept()[:-1])
    assert_sums_agree()
    assert retention.fold(NOW) == 0


def test_the_edge_of_folding_is_a_midnight() -> None:
    stored(a_report(EDGE), a_report(EDGE + HOUR), a_report(EDGE - SECOND))
    assert retention.fold(NOW) == 1
    assert hours_kept() == [EDGE - DAY, EDGE, EDGE + HOUR]


def test_what_comes_late_into_a_folded_day_is_folded_too() -> None:
    stored(a_report(EDGE - HOUR, upload=1))
    retention.fold(NOW)
    stored(a_report(EDGE - 2 * HOUR, upload=10))
    assert retention.fold(NOW) == 1
    assert Usage.objects.get().upload == 11
    assert ServerUsage.objects.get().records == 1
    assert_sums_agree()


def test_folding_changes_no_balance() -> None:
    stored(a_report(EDGE - HOUR), a_report(EDGE - 2 * HOUR))
    before = list(Balance.objects.values())
    retention.fold(NOW)
    assert list(Balance.objects.values()) == before


@pytest.mark.parametrize("way", ["upload", "download"])
def test_a_day_whose_sum_would_pass_the_bound_stays_hours(way: str) -> None:
    day = EDGE - 10 * DAY
    huge = [
        a_report(day + hour * HOUR, user_token=f"user{hour}", **{way: MAX_COUNTER})
        for hour in (0, 1, 23)
    ]
    around = [
        a_report(day + 5 * HOUR),
        a_report(day - HOUR),
        a_report(day + 25 * HOUR),
        a_report(day + 50 * HOUR),
    ]
    elsewhere = [a_report(day + 5 * HOUR, server="b.example")]
    assert set(stored(*huge, *around, *elsewhere)) == {Outcome.RECORDED}
    before = statistics.overall(window(90))
    assert retention.fold(NOW) == 4
    assert [hour - day for hour in hours_kept()] == [
        -DAY, 0 * DAY, 0 * DAY, HOUR, 5 * HOUR, 23 * HOUR, DAY, 2 * DAY,
    ]  # fmt: skip
    assert statistics.overall(window(90)) == before
    assert_sums_agree()


def test_the_largest_day_that_is_folded_fits_its_counter() -> None:
    day = EDGE - 10 * DAY
    largest = MAX_COUNTER // 24
    stored(
        *[
            a_report(day + n * HOUR, user_token=f"user{n}", upload=largest, download=largest)
            for n in range(24)
        ]
    )
    assert retention.fold(NOW) == 23
    assert ServerUsage.objects.get().upload == 24 * largest
    assert_sums_agree()


# --- small steps -------------------------------------------------------------


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 3)


def old_reports() -> list[Any]:
    return [
        a_report(
            EDGE - n * HOUR - HOUR,
            user_token=f"user{n % 4}",
            server=f"s{n % 3}.example",
            upload=n,
            event_id=f"e{n}",
        )
        for n in range(40)
    ]


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("work", ["delete", "fold"])
def test_every_step_reports_its_progress(work: str) -> None:
    stored(*old_reports())
    steps: list[int] = []
    done = (
        retention.fold(NOW, steps.append)
        if work == "fold"
        else retention.delete_records(0, NOW, steps.append)
    )
    assert sum(steps) == done > 30
    assert max(steps) == 3


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("work", ["delete", "fold"])
@pytest.mark.parametrize("steps_done", [1, 2, 5, 6])
def test_it_may_be_killed_between_any_two_steps(work: str, steps_done: int) -> None:
    stored(*old_reports())
    left = steps_done

    def killed(_: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    def run(progress: Any = int) -> int:
        return (
            retention.fold(NOW, progress)
            if work == "fold"
            else retention.delete_records(33, NOW, progress)
        )

    before = statistics.overall(window(90))
    with pytest.raises(KeyboardInterrupt):
        run(killed)
    assert_sums_agree()
    if work == "fold":
        assert statistics.overall(window(90)) == before
    run()
    assert run() == 0
    assert_sums_agree()


def test_a_step_costs_few_queries_however_many_rows_it_takes(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for size in (2, 16):
        stored(*[a_report(NOW - 20 * DAY, user_token=f"user{n}") for n in range(size)])
        # The servers; then a step that takes everything, and one that finds nothing (three statements less). Limits on
        # servers, of which there are none, are asked for by both.
        with django_assert_num_queries(1 + 12 + 5):
            assert retention.delete_records(10, NOW) == size


# --- event ids ---------------------------------------------------------------


def test_event_ids_are_forgotten_after_31_days_and_not_before() -> None:
    stored(a_report(event_id="x"))
    hour = NOW.replace(minute=0, second=0)
    for moment in (NOW, NOW + 31 * DAY, hour + 31 * DAY + HOUR - SECOND):
        assert tidying.tidy(moment).events == 0
    assert stored(a_report(event_id="x"), now=hour + 31 * DAY + HOUR - SECOND) == [
        Outcome.DUPLICATE
    ]
    assert tidying.tidy(hour + 31 * DAY + HOUR).events == 1
    assert not ReceivedEvent.objects.exists()


@pytest.mark.usefixtures("small_steps")
def test_event_ids_go_in_small_steps_too() -> None:
    stored(*[a_report(user_token=f"user{n}", event_id="x") for n in range(8)])
    stored(a_report(event_id="kept"), now=NOW + 20 * DAY)
    steps: list[int] = []
    assert tidying.tidy(NOW + 40 * DAY, steps.append).events == 8
    assert steps[-3:] == [3, 3, 2]
    assert ReceivedEvent.objects.get().event_id == "kept"


# --- tidying -----------------------------------------------------------------


@pytest.mark.usefixtures("only_traffic")
def test_tidying_folds_forgets_and_asks_the_other_apps_and_deletes_no_statistics() -> None:
    asked: list[datetime] = []

    def tidy_letters(now: datetime) -> int:
        asked.append(now)
        return 5

    register(Extension(name="x", cleanup={"letters": tidy_letters}))
    stored(a_report(NOW - 100 * DAY - HOUR, event_id="x"), now=NOW - 100 * DAY)
    before = sums(Usage, ServerUsage)
    assert tidying.tidy(NOW) == Tidied(
        folded=1,
        events=1,
        periods=0,
        others={"notifications": 0, "idempotency keys": 0, "letters": 5},
        lapsed=Lapsed(0, 0),
    )
    assert asked == [NOW]
    assert sums(Usage, ServerUsage) == before


# --- everything, in any order ------------------------------------------------


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(6))
def test_sums_agree_after_any_interleaving(seed: int) -> None:
    draw = random.Random(seed)
    now, sent = NOW, [0, 0, 0]
    for _ in range(30):
        now += draw.choice((HOUR, 5 * HOUR, DAY, 9 * DAY))
        match draw.choice(("record", "record", "record", "delete", "fold", "tidy", "interrupted")):
            case "record":
                reports = [
                    a_report(
                        now - draw.randrange(45 * 24) * HOUR,
                        user_token=f"user{draw.randrange(4)}",
                        server=f"s{draw.randrange(3)}.example",
                        upload=draw.randrange(2**50),
                        download=draw.choice((0, 1, 2**59)),
                        event_id=draw.choice(("", "", f"e{draw.randrange(10)}")),
                    )
                    for _ in range(draw.randrange(1, 12))
                ]
                for report, outcome in zip(reports, stored(*reports, now=now), strict=True):
                    if outcome is Outcome.RECORDED:
                        sent = [sent[0] + report.upload, sent[1] + report.download, sent[2] + 1]
            case "delete":
                days = draw.choice((0, 1, 20, 31, 33, 40, 60))
                expected = retention.count_records(days, now)
                assert retention.delete_records(days, now) == expected
            case "fold":
                retention.fold(now)
            case "tidy":
                tidying.tidy(now)
            case "interrupted":
                with suppress(ZeroDivisionError):
                    retention.delete_records(20, now, lambda _: 1 // 0)
        assert_sums_agree()
    lives = list(Balance.objects.values_list("life_upload", "life_download", "life_reports"))
    assert [sum(life[place] for life in lives) for place in range(3)] == sent
