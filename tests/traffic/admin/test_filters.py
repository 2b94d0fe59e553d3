"""The filters of the lists, and the number of queries of each list."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client

from tests.traffic.admin_pages import a_subscriber, listed, operator, queries, text_of
from tests.traffic.examples import DAY, GB, HOUR, NOW, a_report, stored
from traffic.figures import statistics
from traffic.models import Server, Subscriber
from traffic.periods import window

pytestmark = pytest.mark.django_db

SUBSCRIBERS = "/admin/traffic/subscriber/"
SERVERS = "/admin/traffic/server/"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def used(name: str, size: int, ago: timedelta | None = None) -> Subscriber:
    found = a_subscriber(name)
    moment = NOW if ago is None else NOW - ago
    stored(a_report(moment, user_token=found.token, upload=0, download=size))
    return found


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ("0", {"Dan", "Eve"}),
        ("1", {"Ann", "Bob"}),
        ("10", {"Bob"}),
        ("100", set()),
        ("7", {"Ann", "Bob", "Cid", "Dan", "Eve"}),
        ("x", {"Ann", "Bob", "Cid", "Dan", "Eve"}),
    ],
)
def test_it_filters_by_traffic_of_the_period(chosen: str, found: set[str], client: Client) -> None:
    used("Ann", GB)
    used("Bob", 50 * GB)
    used("Cid", GB - 1)
    used("Dan", 0)
    a_subscriber("Eve")
    assert set(listed(client.get(f"{SUBSCRIBERS}?used={chosen}"))) == found


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ("day", {"Ann"}),
        ("week", {"Ann", "Bob"}),
        ("month", {"Ann", "Bob", "Cid"}),
        ("never", {"Dan"}),
        ("x", {"Ann", "Bob", "Cid", "Dan"}),
    ],
)
def test_it_filters_by_last_use(chosen: str, found: set[str], client: Client) -> None:
    used("Ann", 1, DAY)
    used("Bob", 1, DAY + HOUR)
    used("Cid", 1, 30 * DAY)
    a_subscriber("Dan")
    assert set(listed(client.get(f"{SUBSCRIBERS}?last={chosen}"))) == found


def test_it_filters_by_server_of_the_last_seven_days(client: Client) -> None:
    used("Ann", 1)
    used("Bob", 1, 8 * DAY)
    cid = a_subscriber("Cid")
    stored(a_report(user_token=cid.token, server="other.example.com"))
    vpn, other = (
        Server.objects.get(host=host) for host in ("vpn.example.com", "other.example.com")
    )
    assert listed(client.get(f"{SUBSCRIBERS}?server={vpn.pk}")) == ["Ann"]
    assert listed(client.get(f"{SUBSCRIBERS}?server={other.pk}")) == ["Cid"]
    assert "vpn.example.com:443 vless" in text_of(client.get(SUBSCRIBERS))
    for nonsense in ("x", "9" * 30, "-1", "٣"):
        assert len(listed(client.get(f"{SUBSCRIBERS}?server={nonsense}"))) == 3


def test_users_of_a_server_are_found_by_its_index() -> None:
    sql, params = statistics.users_of(1, window(7, NOW)).query.sql_with_params()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            assert "USING COVERING INDEX traffic_usage_by_server (server_id=? AND hour>?)" in str(
                cursor.fetchall()
            )


def test_counts_of_the_filters_never_read_records(client: Client) -> None:
    used("Ann", 1)
    with queries() as found:
        page = client.get(f"{SUBSCRIBERS}?_facets=True")
    assert page.status_code == 200
    assert not [sql for sql in found if "traffic_usage" in sql]


@pytest.mark.parametrize(
    ("chosen", "found"), [("day", ["new.example.com"]), ("never", ["none.example.com"])]
)
def test_servers_are_filtered_by_last_use(chosen: str, found: list[str], client: Client) -> None:
    stored(a_report(server="new.example.com"), a_report(NOW - 3 * DAY, server="old.example.com"))
    Server.objects.create(host="none.example.com", port=1, protocol="vless")
    shown = client.get(f"{SERVERS}?last={chosen}").context["cl"].result_list
    assert [server.host for server in shown] == found


@pytest.mark.parametrize(
    "address",
    [
        SUBSCRIBERS,
        f"{SUBSCRIBERS}?o=-4",
        f"{SUBSCRIBERS}?used=1&last=week&state=active",
        f"{SUBSCRIBERS}?q=user",
        f"{SUBSCRIBERS}?shown=deleted",
        SERVERS,
        f"{SERVERS}?o=-6&last=day",
    ],
)
def test_a_list_costs_the_same_with_any_number_of_rows_and_scans_no_records(
    address: str, client: Client
) -> None:
    def cost() -> list[str]:
        with queries() as found:
            assert client.get(address).status_code == 200
        return found

    stored(
        *(
            a_report(user_token=f"user{number}", server=f"s{number}.example.com")
            for number in range(2)
        )
    )
    few = cost()
    stored(
        *(
            a_report(user_token=f"user{number}", server=f"s{number}.example.com")
            for number in range(2, 40)
        )
    )
    many = cost()
    # One of them is the sum of what is listed; a search finds its subscribers first.
    assert len(few) == len(many) <= 9 + ("q=" in address)
    assert not [sql for sql in many if '"traffic_usage"' in sql]


def test_a_filter_is_folded_and_marks_what_is_chosen(client: Client) -> None:
    a_subscriber()
    page = client.get(f"{SUBSCRIBERS}?last=never").content.decode()
    assert '<a href="?last=never" aria-current="true">never</a>' in page


def test_each_choice_is_counted_among_what_the_other_filters_leave(client: Client) -> None:
    used("Ann", GB)
    used("Bob", 50 * GB)
    a_subscriber("Cid", is_active=False)
    words = text_of(client.get(f"{SUBSCRIBERS}?used=1&_facets=True"))
    assert "active (2)" in words
    assert "switched off (0)" in words
    assert "nothing (1)" in words


def test_no_count_of_a_filter_looks_for_subscribers_in_a_list_of_them(client: Client) -> None:
    """Citus cannot plan it for rows with their balances."""
    used("Ann", GB)
    with queries() as found:
        client.get(f"{SUBSCRIBERS}?_facets=True")
    assert not [sql for sql in found if "FILTER" in sql or "IN (SELECT" in sql]
