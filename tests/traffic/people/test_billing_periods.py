"""How reports, midnights and operators change the counters of the current period."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from model_bakery import baker
from pytest_django import Settings

from operations.audit import By
from tests.traffic.examples import DAY, HOUR, NOW, a_report, balance, stored, subscriber
from traffic.figures import statistics
from traffic.figures.statistics import SubscriberUsage
from traffic.ledger import lookup, next_plans, recording, retention, rollups, terms
from traffic.ledger.recording import Outcome, record
from traffic.ledger.rollups import BalanceSums
from traffic.models import Balance, NextPlan, Plan, Subscriber
from traffic.people import changes, quotas

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.fixture
def daily() -> Subscriber:
    return baker.make(Subscriber, token="user123", limit_reset="daily")


def report_at(moment: datetime, *, upload: int = 1, seen: datetime | None = None) -> None:
    """Report traffic that flowed at ``moment``, at once or later."""
    assert record([a_report(moment, upload=upload, download=0)], seen or moment) == [
        Outcome.RECORDED
    ]


def period_of(token: str = "user123", now: datetime = NOW) -> int:
    return statistics.usage_of(subscriber(token), now).period_upload


def test_without_a_reset_the_period_is_the_life() -> None:
    stored(a_report(NOW - 31 * DAY, upload=1), a_report(upload=10))
    assert (balance().period_upload, balance().life_upload) == (11, 11)
    assert period_of(now=NOW + 3650 * DAY) == 11


@pytest.mark.parametrize(
    ("zone", "reset", "edge"),
    [
        ("UTC", "daily", utc(2024, 2, 10)),
        ("UTC", "weekly", utc(2024, 2, 5)),
        ("UTC", "monthly", utc(2024, 2, 1)),
        ("Asia/Tehran", "daily", utc(2024, 2, 9, 20, 30)),
        ("Asia/Tehran", "weekly", utc(2024, 2, 4, 20, 30)),
        ("Asia/Tehran", "monthly", utc(2024, 1, 31, 20, 30)),
        ("America/New_York", "daily", utc(2024, 2, 10, 5)),
        ("America/New_York", "weekly", utc(2024, 2, 5, 5)),
        ("America/New_York", "monthly", utc(2024, 2, 1, 5)),
    ],
)
def test_a_late_report_counts_for_the_period_in_which_it_flowed(
    settings: Settings, zone: str, reset: str, edge: datetime
) -> None:
    settings.XPERT_TIME_ZONE = zone
    baker.make(Subscriber, token="user123", limit_reset=reset)
    report_at(edge - SECOND, upload=100, seen=NOW)
    assert (balance().period_upload, balance().life_upload, balance().period_start) == (
        0,
        100,
        edge,
    )
    report_at(edge, upload=10, seen=NOW)
    report_at(NOW, upload=1)
    assert (balance().period_upload, balance().life_upload) == (11, 111)
    assert period_of() == 11


@pytest.mark.parametrize(
    ("day_before", "midnight"),
    [
        # In New York the clocks went forward on March 10 and back on November 3.
        (utc(2024, 3, 10, 5), utc(2024, 3, 11, 4)),
        (utc(2024, 11, 3, 4), utc(2024, 11, 4, 5)),
    ],
)
def test_a_day_over_which_the_clock_changes_is_one_period(
    daily: Subscriber, settings: Settings, day_before: datetime, midnight: datetime
) -> None:
    settings.XPERT_TIME_ZONE = "America/New_York"
    report_at(day_before)
    report_at(midnight - SECOND, upload=10)
    assert (balance().period_upload, balance().period_start) == (11, day_before)
    report_at(midnight, upload=100)
    assert (balance().period_upload, balance().period_start) == (100, midnight)


def test_a_new_period_begins_from_nothing_and_the_life_goes_on(daily: Subscriber) -> None:
    report_at(NOW, upload=5)
    report_at(NOW + DAY, upload=7)
    assert (balance().period_upload, balance().life_upload) == (7, 12)


def test_a_period_that_has_ended_is_empty_though_no_report_came_since(daily: Subscriber) -> None:
    report_at(NOW, upload=5)
    midnight = utc(2024, 2, 11)
    assert period_of(now=midnight - SECOND) == 5
    assert period_of(now=midnight) == 0
    assert balance().period_upload == 5


def test_a_late_report_opens_its_new_period_empty(daily: Subscriber) -> None:
    report_at(NOW, upload=5)
    report_at(NOW, upload=7, seen=NOW + DAY)
    assert (balance().period_upload, balance().life_upload) == (0, 12)
    assert balance().period_start == utc(2024, 2, 11)


def test_one_batch_may_hold_reports_of_several_periods(daily: Subscriber) -> None:
    stored(*[a_report(NOW - days * DAY, upload=10**days) for days in range(4)])
    assert (balance().period_upload, balance().life_upload) == (1, 1111)


def test_a_clock_that_goes_back_over_midnight_opens_no_old_period(daily: Subscriber) -> None:
    midnight = utc(2024, 2, 11)
    report_at(midnight + SECOND, upload=5)
    report_at(midnight - SECOND, upload=7)
    assert (balance().period_upload, balance().life_upload) == (5, 12)
    assert balance().period_start == midnight
    report_at(midnight + 2 * SECOND, upload=1)
    assert balance().period_upload == 6


def test_a_zone_whose_day_began_earlier_goes_on_with_the_period(
    daily: Subscriber, settings: Settings
) -> None:
    report_at(NOW, upload=5)
    settings.XPERT_TIME_ZONE = "Asia/Tehran"  # its day began at 20:30 UTC of the day before
    report_at(NOW + SECOND, upload=7)
    assert balance().period_upload == 12


@pytest.mark.parametrize(
    ("zone", "day", "edge"),
    [
        ("UTC", 5, utc(2024, 2, 5)),
        ("UTC", 10, utc(2024, 2, 10)),
        ("UTC", 31, utc(2024, 1, 31)),
        ("Asia/Tehran", 10, utc(2024, 2, 9, 20, 30)),
        ("America/New_York", 31, utc(2024, 1, 31, 5)),
    ],
)
def test_a_month_turns_on_its_day_in_every_place_that_shows_it(
    settings: Settings, zone: str, day: int, edge: datetime
) -> None:
    settings.XPERT_TIME_ZONE = zone
    made = baker.make(Subscriber, token="user123", limit_reset="monthly", reset_day=day)
    report_at(edge - SECOND, upload=100)

    def shown(now: datetime) -> tuple[int, int]:
        listed = quotas.with_usage(Subscriber.objects.all(), now, ZoneInfo(zone)).get()
        return statistics.usage_of(made, now).period_upload, listed.period_used  # type: ignore[attr-defined]  # an annotation

    assert shown(edge - SECOND) == (100, 100)
    assert shown(edge) == (0, 0)
    report_at(edge - SECOND, upload=1000, seen=edge + HOUR)  # late, so it counts only for the life
    report_at(edge, upload=1, seen=edge + HOUR)
    assert shown(edge + HOUR) == (1, 1)
    assert balance().life_upload == 1101
    assert lookup.current_period(made, edge) == edge
    assert lookup.next_period(made, edge - SECOND) == edge


def test_each_of_several_subscribers_has_their_own_period() -> None:
    for reset in ("never", "daily", "weekly", "monthly"):
        baker.make(Subscriber, token=reset, limit_reset=reset)
    at = (NOW, NOW - DAY, NOW - 5 * DAY, NOW - 9 * DAY, NOW - 20 * DAY)
    reports = [
        a_report(moment, user_token=reset, upload=10**power)
        for power, moment in enumerate(at)
        for reset in ("never", "daily", "weekly", "monthly")
    ]
    stored(*reports)
    assert {found.subscriber.token: found.period_upload for found in Balance.objects.all()} == {
        "never": 11111,
        "daily": 1,
        "weekly": 111,
        "monthly": 1111,
    }


# --- restarted by hand -------------------------------------------------------


@pytest.fixture
def anybody() -> Subscriber:
    return baker.make(Subscriber, token="user123")


def test_restarting_a_period_empties_it_and_leaves_the_life(anybody: Subscriber) -> None:
    report_at(NOW - HOUR, upload=5)
    target = subscriber()
    recording.restart_period(target, NOW)
    assert target.reset_at == subscriber().reset_at == NOW
    assert statistics.usage_of(target, NOW) == SubscriberUsage(0, 0, 5, 0, NOW - HOUR)
    report_at(NOW + SECOND, upload=7)
    assert (period_of(), balance().life_upload) == (7, 12)


def test_after_a_restart_what_flowed_before_it_counts_for_the_life_only(
    anybody: Subscriber,
) -> None:
    recording.restart_period(anybody, NOW)
    report_at(NOW - SECOND, upload=5, seen=NOW + HOUR)
    report_at(NOW, upload=7, seen=NOW + HOUR)
    assert (period_of(), balance().life_upload) == (7, 12)


def test_a_restart_touches_nobody_else(anybody: Subscriber) -> None:
    baker.make(Subscriber, token="bob")
    report_at(NOW - HOUR)
    record([a_report(user_token="bob")], NOW)
    recording.restart_period(anybody, NOW)
    assert period_of("bob") == 1
    assert subscriber("bob").reset_at is None


def test_a_period_may_be_restarted_before_the_first_report(anybody: Subscriber) -> None:
    recording.restart_period(anybody, NOW)
    assert statistics.usage_of(anybody, NOW) == SubscriberUsage()


@pytest.mark.parametrize(
    "begin",
    [
        lambda one: recording.restart_period(one, NOW),
        lambda one: terms.begin({one.pk: int(NOW.timestamp())}, NOW),
        lambda one: next_plans.begin([one.pk], NOW),
    ],
    ids=["restarted", "first use", "next plan"],
)
def test_a_first_report_that_read_the_old_period_counts_in_the_new_one(
    begin: Callable[[Subscriber], object],
) -> None:
    """Writers of PostgreSQL work side by side: the report looked the subscriber up before the period began."""
    made = baker.make(
        Subscriber,
        token="user123",
        limit_reset="interval",
        reset_days=30,
        started_at=NOW - 40 * DAY,
        expires_at=NOW - SECOND,
        hold_days=30,
        has_next=True,
    )
    plan = Plan.objects.create(name="Month", days=30, limit_reset="interval", reset_days=30)
    NextPlan.objects.create(subscriber=made, plan=plan, added_at=NOW)
    old = lookup.Periods(NOW).of(lookup.subscribers_by_token(["user123"])["user123"])
    begin(made)
    row = BalanceSums(period_start=old, period_upload=7)
    row.add(7, 0, 1, int(NOW.timestamp()))
    rollups.add_balances({made.pk: row})
    assert period_of(now=NOW + HOUR) == 7


def test_the_calendar_ends_a_period_that_was_restarted_by_hand(daily: Subscriber) -> None:
    recording.restart_period(daily, NOW)
    report_at(NOW + SECOND, upload=5)
    assert period_of(now=NOW + HOUR) == 5
    assert period_of(now=NOW + DAY) == 0
    report_at(NOW + DAY, upload=7)
    assert balance().period_upload == 7


# --- counted again -----------------------------------------------------------


@pytest.mark.parametrize(
    ("reset", "upload"), [("never", 11111), ("daily", 1), ("weekly", 111), ("monthly", 1111)]
)
def test_after_another_reset_was_chosen_the_period_is_counted_from_the_records(
    anybody: Subscriber, reset: str, upload: int
) -> None:
    for power, age in enumerate((0, 1, 5, 9, 20)):
        report_at(NOW - age * DAY, upload=10**power, seen=NOW)
    anybody.limit_reset = reset
    anybody.save()
    recording.recount_period(anybody, NOW)
    assert period_of() == upload
    report_at(NOW, upload=1_000_000)
    assert period_of() == upload + 1_000_000


def test_a_period_that_begins_within_an_hour_takes_the_whole_hour(
    anybody: Subscriber, settings: Settings
) -> None:
    settings.XPERT_TIME_ZONE = "Asia/Tehran"  # midnight at 20:30 UTC
    for moment, upload in (
        (utc(2024, 2, 9, 19, 59), 1),
        (utc(2024, 2, 9, 20, 10), 10),
        (utc(2024, 2, 9, 20, 50), 100),
    ):
        report_at(moment, upload=upload, seen=NOW)
    anybody.limit_reset = "daily"
    anybody.save()
    recording.recount_period(anybody, NOW)
    assert period_of() == 110


def test_a_period_without_a_beginning_is_the_life_whatever_cleanup_has_deleted(
    daily: Subscriber,
) -> None:
    report_at(NOW - 20 * DAY, upload=5, seen=NOW)
    report_at(NOW, upload=7)
    retention.delete_records(10, NOW)
    daily.limit_reset = "never"
    daily.save()
    recording.recount_period(daily, NOW)
    assert period_of() == 12


def test_a_recount_keeps_to_a_restart_by_hand(anybody: Subscriber) -> None:
    report_at(NOW - 3 * HOUR, upload=5)
    recording.restart_period(anybody, NOW - 2 * HOUR)
    report_at(NOW, upload=7)
    anybody.limit_reset = "monthly"
    anybody.save()
    recording.recount_period(anybody, NOW)
    assert period_of() == 7


def test_a_recount_without_usage_is_nothing(anybody: Subscriber) -> None:
    report_at(NOW - 20 * DAY, upload=5, seen=NOW)
    anybody.limit_reset = "daily"
    anybody.save()
    recording.recount_period(anybody, NOW)
    assert (period_of(), balance().life_upload) == (0, 5)


def test_a_recount_touches_nobody_else(anybody: Subscriber) -> None:
    baker.make(Subscriber, token="bob")
    record([a_report(user_token="bob"), a_report(NOW - 3 * DAY)], NOW)
    anybody.limit_reset = "daily"
    anybody.save()
    recording.recount_period(anybody, NOW)
    assert (period_of(), period_of("bob")) == (0, 1)


def test_subscribers_without_reports_have_used_nothing(anybody: Subscriber) -> None:
    assert statistics.usage_of(anybody, NOW) == SubscriberUsage()


@pytest.mark.parametrize(
    ("days", "began", "now", "start"),
    [
        (30, NOW, NOW, NOW),
        (30, NOW, NOW + 30 * DAY - SECOND, NOW),
        (30, NOW, NOW + 30 * DAY, NOW + 30 * DAY),
        (1, NOW, NOW + 100 * DAY + SECOND, NOW + 100 * DAY),
        (30, NOW, NOW - HOUR, NOW),
    ],
)
def test_every_n_days_counts_from_the_start(
    days: int, began: datetime, now: datetime, start: datetime
) -> None:
    made = baker.make(
        Subscriber, limit_reset="interval", reset_days=days, started_at=began, token="user123"
    )
    assert lookup.current_period(made, now) == start
    assert lookup.next_period(made, now) == start + days * DAY


def test_a_restart_by_hand_moves_the_next_interval() -> None:
    made = baker.make(
        Subscriber, limit_reset="interval", reset_days=10, started_at=NOW, token="user123"
    )
    report_at(NOW, upload=5)
    recording.restart_period(made, NOW + 3 * DAY)
    report_at(NOW + 12 * DAY, upload=7)
    assert period_of(now=NOW + 12 * DAY) == 7
    assert lookup.next_period(made, NOW + 12 * DAY) == NOW + 13 * DAY


def test_a_late_report_of_an_earlier_interval_counts_only_for_the_life() -> None:
    baker.make(Subscriber, limit_reset="interval", reset_days=2, started_at=NOW, token="user123")
    report_at(NOW + 2 * DAY, upload=1)
    report_at(NOW + 2 * DAY - SECOND, upload=100, seen=NOW + 2 * DAY)
    assert (period_of(now=NOW + 2 * DAY), balance().life_upload) == (1, 101)


@pytest.mark.parametrize(
    ("zone", "edge"),
    [("UTC", utc(2025, 1, 1)), ("Asia/Tehran", utc(2024, 12, 31, 20, 30))],
)
def test_a_year_turns_on_the_first_of_january(
    settings: Settings, zone: str, edge: datetime
) -> None:
    settings.XPERT_TIME_ZONE = zone
    made = baker.make(Subscriber, limit_reset="yearly", token="user123")
    assert lookup.current_period(made, edge) == edge
    assert lookup.next_period(made, edge - SECOND) == edge
    assert lookup.current_period(made, edge + 365 * DAY - SECOND) == edge


def test_other_days_of_an_interval_count_the_period_again() -> None:
    made = baker.make(
        Subscriber, limit_reset="interval", reset_days=30, started_at=NOW, token="user123"
    )
    report_at(NOW, upload=5)
    report_at(NOW + 11 * DAY, upload=7)
    changes.edit([made.pk], {"reset_days": 10}, By("anna", NOW + 12 * DAY))
    assert period_of(now=NOW + 12 * DAY) == 7
