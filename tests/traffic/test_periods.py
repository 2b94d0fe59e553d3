from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traffic.examples import DAY, HOUR, NOW, UTC_ZONE
from traffic import periods
from traffic.periods import EPOCH, Window, period_end, period_start

TEHRAN = ZoneInfo("Asia/Tehran")
NEW_YORK = ZoneInfo("America/New_York")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
CAIRO = ZoneInfo("Africa/Cairo")
# Their clocks change at midnight: one repeats the hour before it, one the hour after it.
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
HAVANA = ZoneInfo("America/Havana")
zones = st.sampled_from([TEHRAN, NEW_YORK, KATHMANDU, CAIRO, SAO_PAULO, HAVANA])

moments = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type,misc]


def test_an_hour_and_a_day_begin_in_utc() -> None:
    moment = datetime(2024, 2, 11, 1, 45, 30, 5, tzinfo=TEHRAN)
    assert periods.floor_hour(moment) == utc(2024, 2, 10, 22)
    assert periods.floor_day(moment) == utc(2024, 2, 10)
    assert periods.ceil_day(moment) == utc(2024, 2, 11)
    assert periods.ceil_day(utc(2024, 2, 10)) == utc(2024, 2, 10)


# --- windows -----------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 30, 31])
def test_a_window_begins_with_the_hour_in_which_its_moment_falls(days: int) -> None:
    assert periods.window(days, NOW) == Window(days, utc(2024, 2, 10, 19) - days * DAY, NOW)


def test_a_moment_on_the_hour_begins_that_hour() -> None:
    assert periods.window(1, utc(2024, 2, 10, 19)).start == utc(2024, 2, 9, 19)


@pytest.mark.parametrize(
    ("days", "start"),
    [
        (31, utc(2024, 1, 10, 19)),
        (32, utc(2024, 1, 9, 19)),  # that day ended less than 32 days ago
        (33, utc(2024, 1, 9)),  # folded: begins with the first full day
        (90, utc(2023, 11, 13)),
        (3650, utc(2014, 2, 13)),
    ],
)
def test_a_window_that_reaches_folded_days_begins_with_the_first_full_one(
    days: int, start: datetime
) -> None:
    assert periods.window(days, NOW).start == start


def test_at_midnight_a_window_into_folded_days_is_not_moved() -> None:
    midnight = utc(2024, 2, 10)
    assert periods.window(33, midnight).start == midnight - 33 * DAY


@given(st.integers(1, 3650), moments)
def test_a_window_is_as_long_as_it_says_or_one_folded_day_shorter(days: int, now: datetime) -> None:
    start = periods.window(days, now).start
    assert start.minute == start.second == start.microsecond == 0
    missing = now - days * DAY - start
    if start.hour == 0 and missing < timedelta():
        assert missing > -DAY
        assert start <= periods.fold_edge(now)
    else:
        assert timedelta() <= missing < HOUR


def test_days_that_ended_32_days_ago_are_folded() -> None:
    assert periods.fold_edge(utc(2024, 2, 10)) == utc(2024, 1, 9)
    assert periods.fold_edge(utc(2024, 2, 9, 23, 59, 59)) == utc(2024, 1, 8)


# --- buckets -----------------------------------------------------------------


def test_hour_buckets_reach_from_the_edge_hour_to_the_current_one() -> None:
    buckets = list(periods.hour_buckets(periods.window(1, NOW), UTC_ZONE))
    assert len(buckets) == 25
    assert (buckets[0].edge, buckets[-1].edge) == (utc(2024, 2, 9, 19), utc(2024, 2, 10, 19))


def test_hour_buckets_are_labelled_in_their_zone() -> None:
    first = next(periods.hour_buckets(periods.window(1, NOW), KATHMANDU))
    assert first.start.isoformat() == "2024-02-10T00:45:00+05:45"


def test_day_buckets_begin_at_the_midnights_of_their_zone() -> None:
    buckets = list(periods.day_buckets(periods.window(2, NOW), TEHRAN))
    assert [bucket.start.isoformat() for bucket in buckets] == [
        "2024-02-08T00:00:00+03:30",
        "2024-02-09T00:00:00+03:30",
        "2024-02-10T00:00:00+03:30",
    ]
    # Midnight in Tehran is 20:30 UTC: rounded down to the hour.
    assert [bucket.edge for bucket in buckets] == [utc(2024, 2, day, 20) for day in (7, 8, 9)]


@pytest.mark.parametrize(
    ("today", "hours"), [(utc(2024, 3, 11, 12), 23), (utc(2024, 11, 4, 12), 25)]
)
def test_a_day_over_which_the_clock_changes_has_its_own_length(today: datetime, hours: int) -> None:
    before, after = list(periods.day_buckets(periods.window(1, today), NEW_YORK))[-2:]
    assert after.edge - before.edge == hours * HOUR


def test_a_day_without_midnight_begins_with_its_first_hour() -> None:
    # In Cairo the clock went from 2024-04-25 24:00 to 2024-04-26 01:00.
    buckets = list(periods.day_buckets(periods.window(2, utc(2024, 4, 27, 12)), CAIRO))
    assert [bucket.edge for bucket in buckets] == [
        utc(2024, 4, 24, 22),
        utc(2024, 4, 25, 22),
        utc(2024, 4, 26, 21),
    ]


@given(st.integers(1, 40), moments, st.sampled_from([UTC_ZONE, TEHRAN, NEW_YORK, KATHMANDU, CAIRO]))
def test_buckets_follow_each_other_and_cover_the_window(
    days: int, now: datetime, zone: ZoneInfo
) -> None:
    span = periods.window(days, now)
    for buckets in (list(periods.hour_buckets(span, zone)), list(periods.day_buckets(span, zone))):
        edges = [bucket.edge for bucket in buckets]
        assert edges == sorted(set(edges))
        assert edges[0] <= span.start
        assert edges[-1] <= now
        assert all(edge.minute == 0 for edge in edges)


# --- billing periods ---------------------------------------------------------


@pytest.mark.parametrize(
    ("reset", "zone", "start"),
    [
        ("daily", UTC_ZONE, utc(2024, 2, 10)),
        ("weekly", UTC_ZONE, utc(2024, 2, 5)),  # a Monday
        ("monthly", UTC_ZONE, utc(2024, 2, 1)),
        ("never", UTC_ZONE, EPOCH),
        ("daily", TEHRAN, utc(2024, 2, 9, 20, 30)),
        ("weekly", TEHRAN, utc(2024, 2, 4, 20, 30)),
        ("monthly", TEHRAN, utc(2024, 1, 31, 20, 30)),
        ("never", TEHRAN, EPOCH),
        ("daily", NEW_YORK, utc(2024, 2, 10, 5)),
    ],
)
def test_a_period_begins_by_the_calendar_of_the_zone(
    reset: str, zone: ZoneInfo, start: datetime
) -> None:
    assert period_start(reset, NOW, zone) == start


def test_a_period_changes_at_midnight_of_the_zone_and_not_before() -> None:
    midnight = utc(2024, 2, 10, 20, 30)
    assert period_start("daily", midnight - timedelta(microseconds=1), TEHRAN) == utc(
        2024, 2, 9, 20, 30
    )
    assert period_start("daily", midnight, TEHRAN) == midnight


@pytest.mark.parametrize("today", [date(2024, 2, 5), date(2024, 2, 11)])
def test_a_week_is_from_monday_to_sunday(today: date) -> None:
    now = datetime(today.year, today.month, today.day, 23, 59, 59, tzinfo=NEW_YORK)
    assert period_start("weekly", now, NEW_YORK) == datetime(2024, 2, 5, tzinfo=NEW_YORK)


def test_a_month_keeps_its_midnight_when_the_clock_changes_in_it() -> None:
    # 2024-03-10 02:00 became 03:00.
    assert period_start("monthly", utc(2024, 3, 20), NEW_YORK) == utc(2024, 3, 1, 5)
    assert period_start("daily", utc(2024, 3, 10, 12), NEW_YORK) == utc(2024, 3, 10, 5)
    assert period_start("daily", utc(2024, 3, 11, 12), NEW_YORK) == utc(2024, 3, 11, 4)


@pytest.mark.parametrize(
    ("day", "now", "start", "end"),
    [
        (10, utc(2024, 2, 10), utc(2024, 2, 10), utc(2024, 3, 10)),
        (10, utc(2024, 2, 9, 23, 59, 59), utc(2024, 1, 10), utc(2024, 2, 10)),
        (31, utc(2024, 1, 30), utc(2023, 12, 31), utc(2024, 1, 31)),
        (31, utc(2024, 1, 31), utc(2024, 1, 31), utc(2024, 2, 29)),  # a leap year
        (31, utc(2023, 1, 31), utc(2023, 1, 31), utc(2023, 2, 28)),
        (31, utc(2024, 2, 28, 23, 59, 59), utc(2024, 1, 31), utc(2024, 2, 29)),
        (31, utc(2024, 2, 29), utc(2024, 2, 29), utc(2024, 3, 31)),
        (31, utc(2024, 4, 1), utc(2024, 3, 31), utc(2024, 4, 30)),
        (30, utc(2024, 2, 29), utc(2024, 2, 29), utc(2024, 3, 30)),
        (29, utc(2023, 3, 1), utc(2023, 2, 28), utc(2023, 3, 29)),
        (15, utc(2024, 1, 1), utc(2023, 12, 15), utc(2024, 1, 15)),
        (15, utc(2023, 12, 15), utc(2023, 12, 15), utc(2024, 1, 15)),
    ],
)
def test_a_month_begins_on_its_day_or_the_last_of_a_shorter_month(
    day: int, now: datetime, start: datetime, end: datetime
) -> None:
    assert period_start("monthly", now, UTC_ZONE, day) == start
    assert period_end("monthly", now, UTC_ZONE, day) == end


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        (TEHRAN, 10, utc(2024, 2, 9, 20, 30)),
        (NEW_YORK, 10, utc(2024, 2, 10, 5)),
        (NEW_YORK, 10, utc(2024, 3, 10, 5)),  # the clock goes forward two hours later
        (NEW_YORK, 11, utc(2024, 3, 11, 4)),
        (NEW_YORK, 3, utc(2024, 11, 3, 4)),  # and back again
        (NEW_YORK, 4, utc(2024, 11, 4, 5)),
        (CAIRO, 26, utc(2024, 4, 25, 22)),  # a day that begins at 01:00
        (HAVANA, 3, utc(2024, 11, 3, 4)),  # a day with two midnights begins with the first
        (SAO_PAULO, 18, utc(2018, 2, 18, 3)),  # the hour before this midnight came twice
    ],
)
def test_the_day_of_a_month_begins_at_the_midnight_of_the_zone(
    zone: ZoneInfo, day: int, begins: datetime
) -> None:
    before = period_start("monthly", begins - timedelta(seconds=1), zone, day)
    assert before < begins - 27 * DAY
    assert period_end("monthly", before, zone, day) == begins
    assert period_start("monthly", begins, zone, day) == begins
    assert period_start("monthly", begins + 27 * DAY, zone, day) == begins


@pytest.mark.parametrize("reset", ["daily", "weekly", "never"])
def test_only_a_month_has_a_day(reset: str) -> None:
    assert period_start(reset, NOW, TEHRAN, 17) == period_start(reset, NOW, TEHRAN)
    assert period_end(reset, NOW, TEHRAN, 17) == period_end(reset, NOW, TEHRAN)


@given(st.sampled_from(["daily", "weekly", "monthly", "never"]), moments, zones, st.integers(1, 31))
def test_a_period_has_begun_and_begins_where_it_says(
    reset: str, now: datetime, zone: ZoneInfo, day: int
) -> None:
    start = period_start(reset, now, zone, day)
    assert start <= now
    assert period_start(reset, start, zone, day) == start


@given(st.sampled_from(["daily", "weekly", "monthly"]), moments, zones, st.integers(1, 31))
def test_a_period_ends_where_the_next_begins(
    reset: str, now: datetime, zone: ZoneInfo, day: int
) -> None:
    end = period_end(reset, now, zone, day)
    assert end is not None
    assert end > now
    assert period_start(reset, end, zone, day) == end
    assert period_start(reset, end - timedelta(seconds=1), zone, day) == period_start(
        reset, now, zone, day
    )


def test_a_period_that_never_resets_never_ends() -> None:
    assert period_end("never", NOW, UTC_ZONE) is None


# --- ends as other panels write them -----------------------------------------

Y2100, Y2101 = 4_102_444_800, 4_133_980_800


@pytest.mark.parametrize(
    ("number", "end"),
    [
        (-1, None),
        (0, None),
        (1, 1),
        (1_805_938_734, 1_805_938_734),
        (1_805_938_734_000, 1_805_938_734),
        (1_805_938_734_999, 1_805_938_734),
        (Y2100, Y2100),
        (Y2101 - 1, Y2101 - 1),
        (Y2101, None),
        (946_684_799_999, None),
        (946_684_800_000, 946_684_800),
        ((Y2101 - 1) * 1000, Y2101 - 1),
        (Y2101 * 1000, None),
        (253_402_271_999, None),
        (253_402_300_799_000, None),
        (2**63 - 1, None),
    ],
)
def test_an_end_in_seconds_or_milliseconds_is_read(number: int, end: int | None) -> None:
    assert periods.unix_end(number) == end


@given(moments)
def test_a_moment_is_the_same_in_seconds_and_milliseconds(moment: datetime) -> None:
    seconds = int(moment.timestamp())
    assert periods.unix_end(seconds) == periods.unix_end(seconds * 1000) == seconds
