"""The figures of the first screen, in terms of reports."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries

from tests.traffic.examples import (
    DAY,
    GB,
    HOUR,
    NOW,
    UTC_ZONE,
    a_report,
    stored,
    subscriber,
    window,
)
from traffic.figures import overview, statistics
from traffic.figures.overview import Recent, Silent
from traffic.figures.statistics import BucketSize
from traffic.ledger import retention
from traffic.models import Balance, Server, Subscriber
from traffic.people import quotas
from traffic.people.quotas import State

pytestmark = pytest.mark.django_db

MOSCOW = ZoneInfo("Europe/Moscow")


def recent(now: datetime, zone: ZoneInfo) -> Recent:
    return overview.recent(overview.hours(now), now, zone)


# --- today, 7 and 30 days ----------------------------------------------------


def test_seven_and_thirty_days_are_those_of_the_api_to_the_byte() -> None:
    for number in range(70):
        stored(
            a_report(NOW - number * DAY - number * HOUR, upload=3**20 + number, download=7 * number)
        )
    found = recent(NOW, UTC_ZONE)
    assert found.week.total == statistics.overall(window(7)).total
    assert found.month.total == statistics.overall(window(30)).total
    assert found.month.reports == statistics.overall(window(30)).reports


def test_today_begins_at_midnight_of_the_zone() -> None:
    midnight = datetime(2024, 2, 9, 21, tzinfo=UTC)
    stored(
        a_report(midnight, upload=10, download=0), a_report(midnight - HOUR, upload=5, download=0)
    )
    assert recent(midnight + HOUR, MOSCOW).today.upload == 10
    assert recent(midnight + HOUR, UTC_ZONE).today.upload == 15


def test_today_is_compared_with_yesterday_up_to_now() -> None:
    stored(
        a_report(NOW, upload=0, download=100),
        a_report(NOW - DAY, upload=0, download=40),
        a_report(NOW - DAY + HOUR, upload=0, download=999),
    )
    assert recent(NOW, UTC_ZONE).today.previous == 40


def test_the_period_before_ends_where_this_one_begins() -> None:
    edge = window(7).start
    stored(a_report(edge, upload=1, download=0), a_report(edge - HOUR, upload=2, download=0))
    week = recent(NOW, UTC_ZONE).week
    assert (week.total, week.previous) == (1, 2)


def test_the_change_is_of_what_flows_in_an_hour() -> None:
    edge = window(7).start
    stored(a_report(edge, upload=300, download=0), a_report(edge - HOUR, upload=200, download=0))
    week = recent(edge + 7 * DAY, UTC_ZONE).week
    assert week.change == 50


def test_less_than_before_is_negative() -> None:
    edge = window(7).start
    stored(a_report(edge, upload=100, download=0), a_report(edge - HOUR, upload=200, download=0))
    assert recent(edge + 7 * DAY, UTC_ZONE).week.change == -50


def test_without_a_before_there_is_no_change() -> None:
    stored(a_report())
    assert recent(NOW, UTC_ZONE).week.change is None


def test_nothing_has_changed_in_the_first_moment_of_a_day() -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0)
    stored(a_report(midnight - DAY))
    assert recent(midnight, UTC_ZONE).today.change is None


def test_reports_a_minute_are_those_of_this_hour_and_the_last() -> None:
    stored(
        *(a_report(NOW) for _ in range(100)),
        *(a_report(NOW - HOUR) for _ in range(61)),
        a_report(NOW - 2 * HOUR),
    )
    assert recent(NOW, UTC_ZONE).per_minute == pytest.approx(161 / 80.5)


def test_without_reports_everything_is_nothing() -> None:
    found = recent(NOW, UTC_ZONE)
    assert (found.today.total, found.month.total, found.per_minute) == (0, 0, 0)


def test_folded_days_count_for_the_period_before() -> None:
    old = NOW - 40 * DAY
    stored(a_report(old, upload=8, download=0), now=old)
    before = recent(NOW, UTC_ZONE)
    assert retention.fold(NOW) == 1
    assert recent(NOW, UTC_ZONE) == before
    assert before.month.previous == 8


@pytest.mark.parametrize("days", [1, 7, 30, 90, 365])
def test_the_series_is_that_of_the_api(days: int) -> None:
    for ago in range(0, 370, 3):
        then = NOW - ago * DAY
        stored(a_report(then, upload=ago + 1), now=then)
    retention.fold(NOW)
    for bucket in get_args(BucketSize):
        found = overview.series(overview.hours(NOW, days), window(days), bucket, MOSCOW)
        assert found == statistics.global_series(window(days), bucket, MOSCOW)


def test_recent_is_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    stored(*(a_report(NOW - number * DAY, server=f"s{number}.example") for number in range(20)))
    with django_assert_num_queries(1):
        recent(NOW, UTC_ZONE)


# --- subscribers -------------------------------------------------------------


def test_subscribers_are_counted_by_state() -> None:
    baker.make(Subscriber, token="active")
    baker.make(Subscriber, token="off", is_active=False)
    baker.make(Subscriber, token="over", expires_at=NOW - HOUR)
    baker.make(Subscriber, token="soon", expires_at=NOW + DAY)
    baker.make(Subscriber, token="full", data_limit=3)
    baker.make(Subscriber, token="hidden", hidden_at=NOW)
    stored(a_report(user_token="full"), a_report(user_token="active"))
    found = overview.states(NOW, UTC_ZONE)
    assert (found.active, found.limited, found.expired, found.disabled, found.expiring) == (
        2,
        1,
        1,
        1,
        1,
    )


@pytest.mark.parametrize("state", ["active", "limited", "expired", "disabled"])
def test_the_numbers_are_those_of_the_lists_filters(state: str) -> None:
    for number, reset in enumerate(Subscriber.Reset.values * 4):
        fields: dict[str, Any] = {
            "limit_reset": reset,
            "data_limit": (None, 2, 3, 4)[number % 4],
            "is_active": number % 5 != 0,
        }
        baker.make(
            Subscriber,
            token=f"user{number}",
            expires_at=NOW - HOUR if number % 7 == 0 else None,
            **fields,
        )
        stored(a_report(NOW - number * DAY, user_token=f"user{number}"))
    listed = (
        quotas.with_usage(Subscriber.objects.visible(), NOW, UTC_ZONE)
        .filter(quotas.has_state(State(state), NOW))
        .count()
    )
    assert getattr(overview.states(NOW, UTC_ZONE), state) == listed > 0


def test_a_subscriber_on_hold_and_over_the_limit_is_counted_once() -> None:
    baker.make(Subscriber, token="user123", data_limit=3)
    stored(a_report())
    Subscriber.objects.update(hold_days=30)
    found = overview.states(NOW, UTC_ZONE)
    assert (found.active, found.on_hold, found.limited) == (0, 0, 1)


def test_silent_are_those_of_the_lists_filter() -> None:
    for ago in (0, 6, 8, 20):
        stored(a_report(NOW - ago * DAY, user_token=f"user{ago}"))
    baker.make(Subscriber, token="never")
    Subscriber.objects.update(created_at=NOW - 30 * DAY)
    listed = Subscriber.objects.visible().filter(overview.is_silent(NOW)).count()
    assert overview.states(NOW, UTC_ZONE).silent == listed == 3


def test_a_subscriber_over_the_limit_of_an_ended_period_is_active() -> None:
    baker.make(Subscriber, token="user123", data_limit=3, limit_reset="daily")
    stored(a_report(NOW - DAY), now=NOW - DAY)
    assert overview.states(NOW, UTC_ZONE).limited == 0


def test_the_subscriber_who_used_most_in_the_period_comes_first() -> None:
    baker.make(Subscriber, token="ended", limit_reset="daily")
    yesterday = NOW - DAY
    stored(a_report(yesterday, user_token="ended", upload=9 * GB), now=yesterday)
    stored(*(a_report(user_token=f"user{number}", upload=number * GB) for number in range(1, 4)))
    found = overview.top_subscribers(NOW, UTC_ZONE, 2)
    assert [row.token for row in found] == ["user3", "user2"]
    assert found[0].period_used == 3 * GB + 2


def test_subscribers_without_usage_are_not_among_the_top() -> None:
    baker.make(Subscriber)
    assert overview.top_subscribers(NOW, UTC_ZONE, 10) == []


def test_deleted_subscribers_are_neither_among_the_top_nor_the_latest() -> None:
    stored(a_report())
    Subscriber.objects.update(hidden_at=NOW)
    assert overview.top_subscribers(NOW, UTC_ZONE, 10) == []
    assert overview.last_reports(10) == []


def test_the_last_reports_come_first() -> None:
    stored(*(a_report(NOW - number * HOUR, user_token=f"user{number}") for number in range(4)))
    assert [found.subscriber.token for found in overview.last_reports(2)] == ["user0", "user1"]


# --- who is silent -----------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "is_silent"),
    [
        (7 * DAY, False),
        (7 * DAY + timedelta(seconds=1), True),
        (30 * DAY, True),
        (30 * DAY + HOUR, False),
    ],
)
def test_a_subscriber_is_silent_after_a_week_and_gone_after_a_month(
    ago: timedelta, is_silent: bool
) -> None:
    stored(a_report(NOW - ago))
    expected = [Silent(subscriber(), NOW - ago)] if is_silent else []
    assert overview.silent_subscribers(NOW, 10) == expected


@pytest.mark.parametrize("fields", [{"is_active": False}, {"hidden_at": NOW}])
def test_subscribers_who_may_not_report_are_not_silent(fields: dict[str, object]) -> None:
    stored(a_report(NOW - 8 * DAY))
    Subscriber.objects.update(**fields)
    assert overview.silent_subscribers(NOW, 10) == []


def test_the_latest_to_stop_come_first() -> None:
    stored(*(a_report(NOW - number * DAY, user_token=f"user{number}") for number in (9, 8, 10)))
    assert [found.since for found in overview.silent_subscribers(NOW, 2)] == [
        NOW - 8 * DAY,
        NOW - 9 * DAY,
    ]


@pytest.mark.parametrize(
    ("ago", "is_silent"),
    [(DAY, False), (DAY + HOUR, True), (30 * DAY, True), (30 * DAY + HOUR, False)],
)
def test_a_server_is_silent_after_a_day_and_gone_after_a_month(
    ago: timedelta, is_silent: bool
) -> None:
    stored(a_report(NOW - ago))
    end_of_hour = (NOW - ago).replace(minute=0, second=0) + HOUR
    expected = [Silent(Server.objects.get(), end_of_hour)] if is_silent else []
    assert overview.silent_servers(NOW, 10) == expected


def test_a_server_that_still_reports_is_not_silent() -> None:
    stored(a_report(NOW - 5 * DAY), a_report(NOW - HOUR))
    assert overview.silent_servers(NOW, 10) == []


def test_a_deleted_server_is_not_missed() -> None:
    stored(a_report(NOW - 5 * DAY))
    Server.objects.update(hidden_at=NOW)
    assert overview.silent_servers(NOW, 10) == []


def test_nothing_reads_usage_or_asks_more_of_many(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    stored(*(a_report(NOW - number * DAY, user_token=f"user{number}") for number in range(20)))
    with django_assert_num_queries(6) as captured:
        overview.states(NOW, UTC_ZONE)
        overview.top_subscribers(NOW, UTC_ZONE, 10)
        overview.last_reports(10)
        overview.silent_subscribers(NOW, 10)
        overview.silent_servers(NOW, 10)
    assert not [query for query in captured.captured_queries if '"traffic_usage"' in query["sql"]]
    assert Balance.objects.count() == 20
