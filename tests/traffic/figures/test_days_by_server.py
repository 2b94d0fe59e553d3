"""``statistics.subscriber_days``, which the subscriber's page draws."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import time_machine
from model_bakery import baker
from pytest_django import DjangoAssertNumQueries

from tests.traffic.examples import DAY, HOUR, NOW, UTC_ZONE, a_report, stored, subscriber, window
from traffic.figures import statistics
from traffic.figures.statistics import DaysByServer
from traffic.ledger import retention
from traffic.models import MAX_COUNTER, Subscriber, Usage

pytestmark = pytest.mark.django_db
NEW_YORK = ZoneInfo("America/New_York")


def days(number: int = 2, zone: ZoneInfo = UTC_ZONE, now: datetime = NOW) -> DaysByServer:
    return statistics.subscriber_days(subscriber(), window(number, now), zone)


def by_host(found: DaysByServer) -> dict[str, list[int]]:
    return {row.share.server: row.days for row in found.servers}


def test_each_server_has_its_bytes_of_each_day_most_used_first() -> None:
    stored(
        a_report(upload=1, download=2),
        a_report(NOW - DAY, upload=10, download=20),
        a_report(NOW - DAY, server="b.example", upload=100, download=0),
        a_report(user_token="bob", upload=500),
    )
    found = days()
    assert [f"{day:%m-%d}" for day in found.days] == ["02-08", "02-09", "02-10"]
    assert by_host(found) == {"b.example": [0, 100, 0], "vpn.example.com": [0, 30, 3]}
    assert [row.share.server for row in found.servers] == ["b.example", "vpn.example.com"]
    assert found.total == 133


def test_protocols_and_ports_of_one_host_never_mix() -> None:
    stored(a_report(), a_report(protocol="trojan"), a_report(port=8443))
    shares = [(row.share.port, row.share.protocol, row.share.reports) for row in days().servers]
    assert shares == [(443, "trojan", 1), (443, "vless", 1), (8443, "vless", 1)]


def test_it_agrees_with_the_other_figures_of_the_same_window() -> None:
    stored(
        *[
            a_report(NOW - n * 7 * HOUR, server=f"s{n % 3}.example", upload=n, download=n * n)
            for n in range(100)
        ]
    )
    found, target, span = days(30, NEW_YORK), subscriber(), window(30)
    figures = statistics.subscriber_statistics(target, span)
    assert found.total == figures.total
    assert {
        row.share.server: (row.share.upload, row.share.download, row.share.reports)
        for row in found.servers
    } == {share.server: (share.upload, share.download, share.reports) for share in figures.servers}
    series = statistics.subscriber_series(target, [span], NEW_YORK)[0]
    assert [sum(column) for column in zip(*(row.days for row in found.servers), strict=True)] == [
        point.total for point in series.points
    ]
    assert found.days == [point.time for point in series.points]


def test_a_day_is_that_of_the_zone_also_when_its_clock_changes() -> None:
    now = datetime(2024, 11, 4, 12, tzinfo=UTC)
    edges = (
        datetime(2024, 11, 3, 4, tzinfo=UTC),
        datetime(2024, 11, 4, 5, tzinfo=UTC),
    )  # a day of 25 hours
    for edge, size in zip(edges, (1, 100), strict=True):
        stored(
            a_report(edge - HOUR, upload=size, download=0),
            a_report(edge, upload=size * 10, download=0),
            now=now,
        )
    assert by_host(days(2, NEW_YORK, now)) == {"vpn.example.com": [1, 110, 1000]}


def test_folded_days_stand_whole_on_their_day() -> None:
    stored(*[a_report(NOW - n * HOUR, upload=1, download=0) for n in range(600)])
    later = NOW + 40 * DAY
    before = by_host(days(60, now=later))
    with time_machine.travel(later, tick=False):
        retention.fold(later)
    assert Usage.objects.count() < 600
    assert by_host(days(60, now=later)) == before


def test_sums_beyond_64_bits_are_exact() -> None:
    stored(*[a_report(NOW - n * HOUR, upload=2**50, download=0) for n in range(3)])
    Usage.objects.update(upload=MAX_COUNTER, download=MAX_COUNTER)
    assert days().total == 6 * MAX_COUNTER


def test_subscribers_without_usage_have_days_and_no_servers() -> None:
    baker.make(Subscriber, token="user123")
    found = days()
    assert (len(found.days), found.servers, found.total) == (3, [], 0)


def test_it_takes_two_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    stored(*[a_report(NOW - n * HOUR, server=f"s{n}.example") for n in range(20)])
    target = subscriber()
    with django_assert_num_queries(2):
        statistics.subscriber_days(target, window(), UTC_ZONE)
