"""The operator's first screen: figures at a glance, equal to the API's, and to each only what they may see."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.template import Template
from django.test import Client
from pytest_django import Settings

from operations.extension import Card, Extension, register
from operations.units import gigabytes
from tests import cluster
from tests.traffic.admin_pages import a_subscriber, operator, queries, staff, text_of, url
from tests.traffic.examples import DAY, GB, HOUR, NOW, STATISTICS, a_report, stored, subscriber
from traffic.models import Server, Subscriber

pytestmark = pytest.mark.django_db

HOME = "/admin/"
# Stands for a template file of another app.
LETTERS: Any = Template("{{ figures.letters }} letters")


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def words(client: Client, query: str = "") -> str:
    return text_of(client.get(HOME + query))


def unknown(page: Any) -> int:
    """The number of bars that show unknown traffic."""
    return int(page.content.decode().count('<rect class="xp-unknown"'))


def test_an_empty_panel_says_so(client: Client) -> None:
    page = words(client)
    assert "Today 0 B" in page
    assert "No reports yet." in page
    assert "No silent servers or subscribers." in page


def test_it_shows_today_and_the_last_days(client: Client) -> None:
    stored(a_report(upload=GB, download=2 * GB), a_report(NOW - 3 * DAY, upload=0, download=4 * GB))
    page = words(client)
    assert "Today 3.00 GB ↑ 1.00 GB ↓ 2.00 GB" in page
    assert "Last 7 days 7.00 GB" in page
    assert "Last 30 days 7.00 GB" in page
    assert "Reports per minute 0.0 1 report today" in page


@pytest.mark.parametrize("days", [7, 30])
def test_its_figures_are_those_of_the_api(days: int, client: Client) -> None:
    for number in range(60):
        stored(a_report(NOW - number * DAY, upload=number * GB + number, download=12345 * number))
    recent = client.get(HOME).context["recent"]
    shown = {7: recent.week, 30: recent.month}[days]
    points = client.get(f"{STATISTICS}/global/series?days={days}").json()["points"]
    assert shown.total == sum(point["upload_bytes"] + point["download_bytes"] for point in points)
    assert (
        gigabytes(shown.total)
        == client.get(f"{STATISTICS}/global?days={days}").json()["total_gb_used"]
    )


def test_exact_bytes_are_told_to_who_points_at_a_figure(client: Client) -> None:
    stored(a_report(upload=1234567, download=0))
    assert (
        '<bdi dir="ltr" title="1,234,567 bytes">1.18 MB</bdi>' in client.get(HOME).content.decode()
    )


def test_more_than_before_is_said(client: Client) -> None:
    stored(a_report(upload=3 * GB), a_report(NOW - 8 * DAY, upload=GB))
    assert "+199 %" in words(client)


@pytest.mark.parametrize(
    ("query", "bucket", "bars"),
    [
        ("?days=1", "hour", 25),
        ("", "hour", 169),
        ("?days=30", "day", 31),
        ("?days=365", "day", 366),
    ],
)
def test_the_chart_is_by_hour_or_by_day(query: str, bucket: str, bars: int, client: Client) -> None:
    page = client.get(HOME + query)
    assert page.context["series"].bucket == bucket
    assert abs(page.content.decode().count('<g class="xp-column">') - bars) <= 1


@pytest.mark.parametrize("query", ["?days=2", "?days=0", "?days=x", "?days="])
def test_a_window_that_is_not_offered_is_a_week(query: str, client: Client) -> None:
    assert client.get(HOME + query).context["window"].days == 7


def test_a_time_without_reports_is_unknown_and_not_zero(client: Client) -> None:
    stored(a_report(NOW - HOUR, upload=0, download=0))
    page = client.get(HOME + "?days=1")
    assert unknown(page) == 24
    assert "2024-02-10 18:00: ↑ 0 B, ↓ 0 B" in page.content.decode()
    assert "2024-02-10 17:00: no reports" in page.content.decode()


def test_times_are_those_of_the_operators_zone(client: Client, settings: Settings) -> None:
    settings.XPERT_TIME_ZONE = "Europe/Moscow"
    stored(a_report(upload=5, download=0))
    page = client.get(HOME + "?days=1").content.decode()
    assert "2024-02-10 22:00: ↑ 5 B" in page
    assert "As of 22:20:30 (Europe/Moscow)" in page


def ticks(page: Any) -> list[str]:
    return re.findall(r'class="xp-tick[^>]*>([^<]*)<', page.content.decode())


def test_hours_of_a_day_and_days_of_a_week_stand_below_the_bars(client: Client) -> None:
    assert ticks(client.get(HOME + "?days=1")) == [
        "21:00",
        "01:00",
        "05:00",
        "09:00",
        "13:00",
        "17:00",
    ]
    assert ticks(client.get(HOME)) == [f"Feb {day}" for day in range(4, 11)]


def test_the_chart_can_be_read_as_a_table(client: Client) -> None:
    stored(a_report(NOW - HOUR, upload=GB, download=GB))
    assert "2024-02-10 18:00 1.00 GB 1.00 GB 2.00 GB 1 2024-02-10 17:00 no reports" in words(
        client, "?days=1"
    )


def test_it_names_top_servers_and_protocols_of_the_window(client: Client) -> None:
    stored(
        a_report(upload=0, download=GB),
        a_report(server="b.example", protocol="trojan", upload=0, download=3 * GB),
        a_report(NOW - 2 * DAY, protocol="trojan", upload=0, download=9 * GB),
    )
    page = words(client, "?days=1")
    assert (
        "Top servers, 1 day b.example:443 trojan 3.00 GB vpn.example.com:443 vless 1.00 GB" in page
    )
    assert "Protocols, 1 day trojan 3.00 GB vless 1.00 GB" in page


def test_it_names_top_subscribers_with_their_limits(client: Client) -> None:
    a_subscriber("Ann", token="ann", data_limit=4 * GB)
    stored(
        a_report(user_token="ann", upload=0, download=GB),
        a_report(user_token="bob", upload=0, download=2 * GB),
    )
    bob = subscriber("bob")
    assert f"Top subscribers, current period {bob} 2.00 GB Ann 1.00 GB of 4.00 GB, 25 %" in words(
        client
    )


def test_it_counts_subscribers_by_state(client: Client) -> None:
    a_subscriber("Ann")
    a_subscriber("Bob", is_active=False)
    assert "active 1 over the limit 0 expired 0 switched off 1" in words(client)


def test_it_says_when_the_last_reports_came(client: Client) -> None:
    stored(a_report(NOW - 2 * HOUR))
    assert f"Last reports {subscriber()} 2 hours ago" in words(client)


def test_silent_servers_and_subscribers_are_listed_with_the_time(client: Client) -> None:
    stored(a_report(NOW - 8 * DAY))
    page = words(client)
    assert "vpn.example.com:443 vless since 2024-02-02 20:00" in page
    assert f"{subscriber()} since 2024-02-02 19:20" in page


def test_it_tells_of_the_database(client: Client, settings: Settings) -> None:
    stored(a_report())
    assert (
        "Records 1 Subscribers with records 1 Servers with records 1 Records are kept for ever"
        in words(client)
    )
    settings.XPERT_TRAFFIC_RETENTION_DAYS = 90
    assert "Records are kept 90 days" in words(client)


# --- who sees what -----------------------------------------------------------


@pytest.mark.parametrize(
    ("permission", "seen", "not_seen"),
    [
        ("view_usage", "Last 7 days", "Top subscribers"),
        ("view_server", "Silent", "Last 7 days"),
        ("view_subscriber", "Top subscribers", "Last 7 days"),
    ],
)
def test_a_person_sees_what_they_may(permission: str, seen: str, not_seen: str) -> None:
    stored(a_report(NOW - 8 * DAY))
    page = words(staff(permission))
    assert seen in page
    assert not_seen not in page


def test_silent_subscribers_are_not_shown_to_who_may_see_servers_only() -> None:
    stored(a_report(NOW - 8 * DAY))
    page = staff("view_server").get(HOME).content.decode()
    assert url("server_usage", Server.objects.get().pk) in page
    assert url("subscriber_usage", subscriber().pk) not in page


def test_links_to_servers_are_for_those_who_may_follow_them() -> None:
    stored(a_report())
    page = staff("view_usage").get(HOME)
    assert "vpn.example.com:443" in text_of(page)
    assert url("server_usage", Server.objects.get().pk) not in page.content.decode()


def test_users_who_may_see_nothing_are_told_so() -> None:
    assert "Your account may not see any figures." in words(staff())


def test_it_is_for_those_who_have_signed_in() -> None:
    answer = Client().get(HOME + "?fragment=1")
    assert (answer.status_code, answer["Location"]) == (
        302,
        "/admin/login/?next=/admin/%3Ffragment%3D1",
    )


def test_names_are_escaped(client: Client) -> None:
    stored(a_report())
    Subscriber.objects.update(name="<script>alert(1)</script>")
    assert "<script>alert" not in client.get(HOME).content.decode()


# --- refreshing, and cards of others -----------------------------------------


def test_it_refreshes_by_its_figures_alone(client: Client) -> None:
    stored(a_report(upload=0, download=GB))
    page = client.get(HOME + "?fragment=1&days=1").content.decode()
    assert "1.00 GB" in page
    assert "<html" not in page
    assert "nav-sidebar" not in page


def test_it_loads_only_its_own_files(client: Client) -> None:
    page = client.get(HOME).content.decode()
    assert set(re.findall(r'(?:src|href)="(\w+:)?//', page)) == set()


@pytest.mark.usefixtures("only_traffic")
def test_another_app_adds_a_card(client: Client) -> None:
    seen: list[datetime] = []
    card = Card("traffic.view_server", LETTERS, told(seen))
    register(Extension(name="x", cards={"letters": card}))
    assert "7 letters" in words(client)
    assert seen == [NOW]


def told(seen: list[datetime]) -> Any:
    def figures(now: datetime) -> dict[str, Any]:
        seen.append(now)
        return {"letters": 7}

    return figures


@pytest.mark.usefixtures("only_traffic")
def test_a_card_is_for_those_who_have_its_permission() -> None:
    seen: list[datetime] = []
    card = Card("operations.view_apikey", LETTERS, told(seen))
    register(Extension(name="x", cards={"letters": card}))
    words(staff("view_server"))
    assert seen == []


@pytest.mark.parametrize("query", ["", "?days=365", "?fragment=1"])
def test_it_costs_the_same_with_any_number_of_rows(query: str, client: Client) -> None:
    def cost() -> list[str]:
        with queries() as found:
            assert client.get(HOME + query).status_code == 200
        return found

    def grow(numbers: range) -> None:
        for number in numbers:
            stored(
                a_report(
                    NOW - number * DAY, user_token=f"user{number}", server=f"s{number}.example"
                )
            )

    grow(range(12))
    few = cost()
    grow(range(12, 40))
    many = cost()
    # Each app adds some for its conditions.
    # Four count the people and servers that need attention.
    # PostgreSQL is asked whether it is a cluster, and a cluster how its nodes are.
    asked = 2 * (connection.vendor == "postgresql") + 10 * bool(cluster.WORKERS)
    assert len(few) == len(many) <= 41 + asked
    assert not [sql for sql in many if '"traffic_usage"' in sql]


def test_a_project_without_the_callback_gets_the_list_of_apps(
    client: Client, settings: Settings
) -> None:
    settings.UNFOLD = {**settings.UNFOLD, "DASHBOARD_CALLBACK": None}
    found = client.get(HOME)
    assert found.status_code == 200
    assert url("subscriber_changelist") in found.content.decode()
    assert "Today" not in text_of(found)
