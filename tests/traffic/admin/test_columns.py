"""The columns that lists are sorted by say the same as the figures of one subscriber."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from model_bakery import baker
from pytest_django import Settings

from tests.traffic.examples import DAY, HOUR, NOW, a_report, stored
from traffic.figures import overview, statistics
from traffic.ledger import recording
from traffic.models import MAX_COUNTER, Balance, Subscriber
from traffic.people import quotas

pytestmark = pytest.mark.django_db

KOLKATA = "Asia/Kolkata"  # half an hour off the full hour


def columns(subscriber: Subscriber, zone: str = "UTC") -> tuple[Any, ...]:
    found: Any = quotas.with_usage(Subscriber.objects.all(), NOW, ZoneInfo(zone)).get(
        pk=subscriber.pk
    )
    return found.period_used, found.life_used, found.last_used_at


@pytest.mark.parametrize("reset", Subscriber.Reset.values)
@pytest.mark.parametrize("zone", ["UTC", KOLKATA, "America/New_York"])
@pytest.mark.parametrize("restarted", [None, 3 * HOUR, 3 * DAY, 40 * DAY])
def test_the_columns_agree_with_the_figures_of_one(
    reset: str, zone: str, restarted: timedelta | None, settings: Settings
) -> None:
    settings.XPERT_TIME_ZONE = zone
    subscriber = baker.make(Subscriber, token="user123", limit_reset=reset, reset_days=30)
    Subscriber.objects.update(started_at=NOW - 40 * DAY)
    subscriber.refresh_from_db()
    for ago in (35 * DAY, 8 * DAY, 2 * DAY, DAY, 12 * HOUR, HOUR, 0 * HOUR):
        stored(a_report(NOW - ago, upload=int(ago / HOUR) + 1, download=1000), now=NOW - ago)
    if restarted:
        recording.restart_period(subscriber, NOW - restarted)
        stored(a_report(NOW, upload=7), now=NOW)
    usage = statistics.usage_of(subscriber, NOW)
    assert columns(subscriber, zone) == (usage.period_total, usage.life_total, usage.last_used_at)
    assert usage.period_total


def test_a_period_that_is_over_counts_as_nothing_though_no_report_came_since() -> None:
    subscriber = baker.make(Subscriber, token="user123", limit_reset="daily")
    yesterday = NOW.replace(hour=0, minute=0, second=0) - timedelta(seconds=1)
    stored(a_report(yesterday), now=yesterday)
    assert columns(subscriber) == (0, 3, yesterday)


def test_a_period_begins_with_its_first_second() -> None:
    subscriber = baker.make(Subscriber, token="user123", limit_reset="daily")
    midnight = NOW.replace(hour=0, minute=0, second=0)
    stored(a_report(midnight), now=midnight)
    assert columns(subscriber)[0] == 3


def test_subscribers_without_usage_have_zeros() -> None:
    assert columns(baker.make(Subscriber)) == (0, 0, None)


def test_the_largest_counters_do_not_overflow() -> None:
    subscriber = baker.make(Subscriber)
    balance = Balance(subscriber=subscriber, period_start=NOW, last_used_at=NOW)
    balance.period_upload = balance.period_download = MAX_COUNTER
    balance.life_upload = balance.life_download = MAX_COUNTER
    balance.save()
    assert columns(subscriber) == (2 * MAX_COUNTER, 2 * MAX_COUNTER, NOW)


def silent(last_used_ago: timedelta | None, created_ago: timedelta) -> bool:
    subscriber = baker.make(Subscriber, token="user123")
    Subscriber.objects.update(created_at=NOW - created_ago)
    if last_used_ago is not None:
        stored(a_report(NOW - last_used_ago))
    return Subscriber.objects.filter(overview.is_silent(NOW)).filter(pk=subscriber.pk).exists()


def test_silent_is_whose_last_report_is_older() -> None:
    assert silent(7 * DAY + timedelta(seconds=1), created_ago=30 * DAY)


def test_silent_is_not_whose_last_report_is_exactly_as_old() -> None:
    assert not silent(7 * DAY, created_ago=30 * DAY)


def test_silent_is_who_never_reported() -> None:
    assert silent(None, created_ago=8 * DAY)


def test_silent_is_not_who_is_new() -> None:
    assert not silent(None, created_ago=DAY)
