"""How much of what a provider counts was reported."""

from datetime import date, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from subscriptions.models import ProviderUsage, Source
from subscriptions.sources import provider_usage
from subscriptions.sources.provider_usage import Day
from tests.subscriptions.examples import A, B, source, stored, subscriber
from traffic.ledger.recording import record
from traffic.reports import Report

pytestmark = pytest.mark.django_db
NOW = timezone.now()
TODAY = NOW.date()


@pytest.fixture
def shared() -> Source:
    it = source()
    stored(it, A, B)
    return it


def told(it: Source, download: int, days_ago: int = 0) -> None:
    ProviderUsage.objects.create(
        source=it, day=TODAY - timedelta(days=days_ago), upload=1, download=download - 1
    )


def reported(download: int, host: str = "a.example", port: int = 1, days_ago: int = 0) -> None:
    for name in ("ann", "bob"):
        subscriber(f"{name}{host}{port}{days_ago}")
        moment = int((NOW - timedelta(days=days_ago)).timestamp())
        record(
            [
                Report(
                    f"{name}{host}{port}{days_ago}", host, port, "trojan", 0, download // 2, moment
                )
            ],
            NOW,
        )


def test_a_source_of_which_nothing_is_known_has_no_days(shared: Source) -> None:
    assert provider_usage.days(shared, NOW) == []


def test_what_everybody_reported_on_its_servers_is_beside_what_the_provider_counted(
    shared: Source,
) -> None:
    told(shared, 100)
    told(shared, 50, days_ago=3)
    reported(60)
    reported(30, "b.example", 2)
    reported(8, days_ago=1)
    assert provider_usage.days(shared, NOW) == [
        Day(TODAY, 100, 90),
        Day(TODAY - timedelta(days=1), 0, 8),
        Day(TODAY - timedelta(days=3), 50, 0),
    ]


def test_other_servers_and_other_sources_do_not_count(shared: Source) -> None:
    reported(60, "c.example", 3)
    reported(60, "a.example", 2)
    told(source("other"), 7)
    assert provider_usage.days(shared, NOW) == []


def test_a_server_that_left_the_list_still_counts(shared: Source) -> None:
    reported(60)
    stored(shared, B)
    assert provider_usage.days(shared, NOW) == [Day(TODAY, 0, 60)]


def test_old_days_are_not_shown(shared: Source) -> None:
    told(shared, 5, days_ago=provider_usage.SHOWN + 1)
    assert provider_usage.days(shared, NOW) == []


@pytest.mark.parametrize(("provider", "reported_", "low", "high"), [
    (100, 69, True, False), (100, 70, False, False), (100, 110, False, False), (100, 111, False, True),
    (0, 1, False, True), (0, 0, False, False),
])  # fmt: skip
def test_a_part_far_from_the_whole_is_marked(
    provider: int, reported_: int, low: bool, high: bool
) -> None:
    day = Day(TODAY, provider, reported_)
    assert (day.is_low, day.is_high) == (low, high)


def test_a_month_of_servers_shows_what_the_provider_counts(admin_client: Client) -> None:
    it = source(name="Provider One")
    ProviderUsage.objects.create(source=it, day=date(2026, 1, 5), upload=2**30, download=2**30)
    ProviderUsage.objects.create(source=it, day=date(2026, 2, 1), upload=1)
    page = admin_client.get("/admin/traffic/server/bill/?month=2026-01").content.decode()
    assert "Provider One" in page
    assert "2.000 GB" in page
    assert (
        "Provider One"
        not in admin_client.get("/admin/traffic/server/bill/?month=2025-12").content.decode()
    )
