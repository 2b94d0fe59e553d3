from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from tests.traffic.examples import DAY, HOUR, NOW, UTC_ZONE, a_report, stored, window
from traffic.figures import statistics
from traffic.figures.statistics import BucketSize, Point, Series
from traffic.ledger import retention
from traffic.models import MAX_COUNTER, Balance, Server, ServerUsage, Subscriber, Usage

pytestmark = pytest.mark.django_db
TEHRAN = ZoneInfo("Asia/Tehran")
NEW_YORK = ZoneInfo("America/New_York")
SECOND = timedelta(seconds=1)


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type,misc]


def filled(series: Series) -> dict[str, tuple[int, int, int]]:
    """The points with traffic, by their time."""
    return {
        point.time.isoformat(): (point.upload, point.download, point.reports)
        for point in series.points
        if point.reports
    }


def totals(series: Series) -> tuple[int, int, int]:
    points = series.points
    return (
        sum(p.upload for p in points),
        sum(p.download for p in points),
        sum(p.reports for p in points),
    )


def test_days_without_traffic_are_zeros() -> None:
    stored(a_report(), a_report(NOW - 2 * DAY, upload=10))
    found = statistics.user_series("user123", window(3), "day", UTC_ZONE)
    assert found == Series(
        "day",
        utc(2024, 2, 7, 19),
        NOW,
        [
            Point(utc(2024, 2, 7), 0, 0, 0),
            Point(utc(2024, 2, 8), 10, 2, 1),
            Point(utc(2024, 2, 9), 0, 0, 0),
            Point(utc(2024, 2, 10), 1, 2, 1),
        ],
    )


def test_hours_without_traffic_are_zeros() -> None:
    stored(a_report(upload=5), a_report(NOW - 3 * HOUR, upload=7))
    found = statistics.global_series(window(1), "hour", UTC_ZONE)
    assert len(found.points) == 25
    assert filled(found) == {
        "2024-02-10T16:00:00+00:00": (7, 2, 1),
        "2024-02-10T19:00:00+00:00": (5, 2, 1),
    }


@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_an_unknown_token_is_all_zeros(bucket: BucketSize) -> None:
    stored(a_report())
    found = statistics.user_series("nobody", window(2), bucket, UTC_ZONE)
    assert len(found.points) == {"hour": 49, "day": 3}[bucket]
    assert filled(found) == {}


def test_a_series_is_of_its_user_its_server_or_of_all() -> None:
    stored(
        a_report(upload=1),
        a_report(user_token="bob", upload=10),
        a_report(server="b.example", upload=100),
    )
    span = window(1)
    server = Server.objects.get(host="b.example")
    assert totals(statistics.user_series("bob", span, "hour", UTC_ZONE)) == (10, 2, 1)
    assert totals(statistics.server_series(server, [span], UTC_ZONE)[0]) == (100, 2, 1)
    assert totals(statistics.global_series(span, "hour", UTC_ZONE)) == (111, 6, 3)


def test_a_zone_moves_the_edge_of_the_day() -> None:
    midnight = utc(2024, 2, 9, 5)  # in New York
    stored(a_report(midnight - SECOND, upload=1), a_report(midnight, upload=10))
    found = statistics.user_series("user123", window(3), "day", NEW_YORK)
    assert filled(found) == {
        "2024-02-08T00:00:00-05:00": (1, 2, 1),
        "2024-02-09T00:00:00-05:00": (10, 2, 1),
    }


def test_a_zone_off_the_full_hour_rounds_its_edge_down_to_the_utc_hour() -> None:
    # Midnight in Tehran is 20:30 UTC, but the hour that holds it counts for the new day, and so does 20:10.
    stored(
        a_report(utc(2024, 2, 9, 19, 59, 59), upload=1),
        a_report(utc(2024, 2, 9, 20, 10), upload=10),
    )
    found = statistics.user_series("user123", window(3), "day", TEHRAN)
    assert filled(found) == {
        "2024-02-09T00:00:00+03:30": (1, 2, 1),
        "2024-02-10T00:00:00+03:30": (10, 2, 1),
    }


@pytest.mark.parametrize(
    ("day", "offsets", "hours"), [(10, ["-05:00", "-04:00"], 23), (3, ["-04:00", "-05:00"], 25)]
)
def test_over_a_change_of_the_clock_days_have_their_own_length(
    day: int, offsets: list[str], hours: int
) -> None:
    month = 3 if hours == 23 else 11
    midnight = datetime(2024, month, day, tzinfo=NEW_YORK).astimezone(UTC)
    now = midnight + 40 * HOUR
    stored(
        a_report(midnight),
        a_report(midnight + (hours - 1) * HOUR),
        a_report(midnight + hours * HOUR),
        now=now,
    )
    found = statistics.user_series("user123", window(3, now), "day", NEW_YORK)
    assert filled(found) == {
        f"2024-{month:02}-{day:02}T00:00:00{offsets[0]}": (2, 4, 2),
        f"2024-{month:02}-{day + 1:02}T00:00:00{offsets[1]}": (1, 2, 1),
    }


def test_an_hour_that_the_clock_shows_twice_is_two_points() -> None:
    now = utc(2024, 11, 3, 12)
    stored(a_report(utc(2024, 11, 3, 5)), a_report(utc(2024, 11, 3, 6), upload=5), now=now)
    found = statistics.user_series("user123", window(1, now), "hour", NEW_YORK)
    assert filled(found) == {
        "2024-11-03T01:00:00-04:00": (1, 2, 1),
        "2024-11-03T01:00:00-05:00": (5, 2, 1),
    }
    assert len({point.time.isoformat() for point in found.points}) == 25


def test_the_first_hour_of_the_window_is_whole_and_what_is_older_is_out() -> None:
    edge = window(1).start
    stored(a_report(edge, upload=1), a_report(edge - SECOND, upload=10))
    for bucket in ("hour", "day"):
        assert totals(statistics.user_series("user123", window(1), bucket, UTC_ZONE)) == (1, 2, 1)


def test_a_folded_day_is_one_point() -> None:
    stored(a_report(utc(2023, 12, 20, 3)), a_report(utc(2023, 12, 20, 23), upload=10), a_report())
    before = statistics.global_series(window(90), "day", UTC_ZONE)
    retention.fold(NOW)
    assert statistics.global_series(window(90), "day", UTC_ZONE) == before
    assert filled(before)["2023-12-20T00:00:00+00:00"] == (11, 4, 2)


def test_traffic_stored_by_a_clock_that_ran_ahead_is_in_the_last_point() -> None:
    stored(a_report(NOW + 3 * DAY, upload=7), now=NOW + 3 * DAY)
    found = statistics.user_series("user123", window(1), "hour", UTC_ZONE)
    assert filled(found) == {"2024-02-10T19:00:00+00:00": (7, 2, 1)}


def test_points_beyond_64_bits_are_exact() -> None:
    stored(
        *[
            a_report(NOW - n * HOUR, user_token=f"user{n}", upload=MAX_COUNTER - n)
            for n in range(19)
        ]
    )
    found = statistics.global_series(window(1), "day", UTC_ZONE)
    assert found.points[-1].upload == 19 * MAX_COUNTER - sum(range(19)) > 2**64


@given(
    st.lists(st.tuples(st.integers(0, 60 * 24), st.integers(0, 2**50)), max_size=15),
    st.sampled_from(["hour", "day"]),
    st.sampled_from(
        [UTC_ZONE, TEHRAN, NEW_YORK, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Pacific/Chatham")]
    ),
    st.integers(1, 31),
)
@pytest.mark.django_db
def test_the_points_add_up_to_the_total(
    drawn: list[tuple[int, int]], bucket: BucketSize, zone: ZoneInfo, days: int
) -> None:
    for model in (Usage, ServerUsage, Balance):
        model._default_manager.all().delete()
    stored(*[a_report(NOW - hours * HOUR, upload=upload) for hours, upload in drawn])
    found = statistics.user_series("user123", window(days), bucket, zone)
    assert sum(totals(found)[:2]) == statistics.user("user123", window(days)).total
    assert found == statistics.global_series(window(days), bucket, zone)


def test_a_series_costs_the_same_queries_however_long(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    stored(*[a_report(NOW - n * HOUR) for n in range(100)])
    server = Server.objects.get()
    for days in (1, 31):
        with django_assert_num_queries(2):
            statistics.user_series("user123", window(days), "hour", UTC_ZONE)
        with django_assert_num_queries(1):
            statistics.global_series(window(days), "hour", UTC_ZONE)
        with django_assert_num_queries(1):
            statistics.server_series(server, [window(days)], UTC_ZONE)[0]


def test_each_of_several_windows_is_as_if_asked_alone() -> None:
    stored(*(a_report(NOW - n * 9 * DAY, upload=2**n, download=0) for n in range(30)))
    server, user = Server.objects.get(), Subscriber.objects.get()
    windows = [window(days) for days in (7, 365, 30)]
    alone = [statistics.server_series(server, [one], UTC_ZONE)[0] for one in windows]
    assert statistics.server_series(server, windows, UTC_ZONE) == alone
    assert statistics.subscriber_series(user, windows, UTC_ZONE) == alone
    assert [sum(point.upload for point in one.points) for one in alone] == [1, 2**30 - 1, 2**4 - 1]
