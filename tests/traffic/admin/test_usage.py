"""The usage pages: a subscriber by server and day, a server by day and subscriber."""

from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client
from pytest_django import Settings

from tests.traffic.admin_pages import a_subscriber, operator, queries, staff, text_of, url
from tests.traffic.examples import DAY, GB, HOUR, NOW, a_report, stored, subscriber
from traffic.models import Server, Subscriber

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def usage_of(client: Client, token: str = "user123", query: str = "") -> str:
    return text_of(client.get(url("subscriber_usage", subscriber(token).pk) + query))


def usage_on(client: Client, host: str = "vpn.example.com", query: str = "") -> str:
    return text_of(client.get(url("server_usage", Server.objects.get(host=host).pk) + query))


def test_it_shows_servers_most_used_first(client: Client) -> None:
    stored(
        a_report(upload=GB, download=2 * GB),
        a_report(server="b.example.com", upload=0, download=4 * GB),
    )
    words = usage_of(client)
    assert "Total 7.00 GB Servers 2 Days with traffic 1" in words
    assert "b.example.com:443 vless 0 B 4.00 GB 4.00 GB 1 2024-02-10 19:20" in words
    assert "vpn.example.com:443 vless 1.00 GB 2.00 GB 3.00 GB 1 2024-02-10 19:20" in words
    assert words.index("b.example.com") < words.index("vpn.example.com")


def test_it_shows_days_with_traffic_newest_first(client: Client) -> None:
    stored(a_report(), a_report(upload=5), a_report(NOW - 3 * DAY, download=0))
    words = usage_of(client)
    assert "Total Share Reports 2024-02-10 6 B 4 B 10 B 2 2024-02-07 1 B 0 B 1 B 1" in words


def test_the_bars_compare_with_the_largest(client: Client) -> None:
    stored(a_report(upload=0, download=100), a_report(NOW - DAY, upload=0, download=25))
    page = client.get(url("subscriber_usage", subscriber().pk)).content.decode()
    assert page.count('class="xp-bar xp-plain" max="100" value="100"') == 2
    assert page.count('class="xp-bar xp-plain" max="100" value="25"') == 1


def test_days_begin_at_midnight_of_the_panel(client: Client, settings: Settings) -> None:
    settings.XPERT_TIME_ZONE = "Asia/Tokyo"
    stored(a_report())
    words = usage_of(client)
    assert "2024-02-11 1 B 2 B 3 B 1" in words
    assert "Days begin at midnight in Asia/Tokyo" in words


@pytest.mark.parametrize(
    ("query", "total"),
    [("?days=1", "1 B"), ("?days=7", "11 B"), ("", "111 B"), ("?days=90", "1.08 KB")],
)
def test_the_days_are_chosen(query: str, total: str, client: Client) -> None:
    for ago, size in ((0, 1), (2, 10), (20, 100), (60, 1000)):
        stored(a_report(NOW - ago * DAY, upload=0, download=size))
    assert f"Total {total} Servers 1" in usage_of(client, query=query)
    assert f"Total {total} Subscribers 1" in usage_on(client, query=query)


@pytest.mark.parametrize("query", ["?days=0", "?days=3651", "?days=many", "?days=", "?days=1.5"])
def test_an_invalid_number_of_days_means_thirty(query: str, client: Client) -> None:
    stored(a_report())
    page = client.get(url("subscriber_usage", subscriber().pk) + query)
    assert page.context["window"].days == 30
    assert '<a href="?days=30" aria-current="page">30 days</a>' in page.content.decode()


@pytest.mark.parametrize("days", [1, 3650])
def test_any_number_of_days_up_to_ten_years_may_be_asked_for(days: int, client: Client) -> None:
    stored(a_report())
    page = client.get(f"{url('subscriber_usage', subscriber().pk)}?days={days}")
    assert page.context["window"].days == days


def test_without_usage_it_says_so(client: Client) -> None:
    ann = a_subscriber(token="user123")
    assert "No usage in these days." in usage_of(client)
    stored(a_report(user_token=ann.token), now=NOW)
    with time_machine.travel(NOW + 40 * DAY, tick=False):
        assert "No usage in these days." in usage_on(operator_again(), query="?days=7")


def operator_again() -> Client:
    """A new session, because sessions end after two weeks."""
    from django.contrib.auth.models import User  # noqa: PLC0415

    client = Client()
    client.force_login(User.objects.get())
    return client


def test_servers_are_linked_with_their_names(client: Client) -> None:
    stored(a_report(), a_report(server="hidden.example.com"))
    Server.objects.filter(host="vpn.example.com").update(name="Berlin")
    Server.objects.filter(host="hidden.example.com").update(hidden_at=NOW)
    page = client.get(url("subscriber_usage", subscriber().pk) + "?days=7").content.decode()
    shown, hidden = (Server.objects.get(host=f"{name}.example.com") for name in ("vpn", "hidden"))
    assert f'<a href="{url("server_usage", shown.pk)}?days=7">{shown}</a>' in page
    assert "Berlin" in page
    assert "hidden.example.com:443 vless" in page
    assert url("server_usage", hidden.pk) not in page


def test_names_are_escaped(client: Client) -> None:
    stored(a_report())
    Subscriber.objects.update(name="<script>alert(1)</script>")
    Server.objects.update(name="<b>x</b>")
    for address in (
        url("subscriber_usage", subscriber().pk),
        url("server_usage", Server.objects.get().pk),
        url("subscriber_restart", subscriber().pk),
        "/admin/traffic/subscriber/",
        "/admin/traffic/server/",
    ):
        page = client.get(address).content.decode()
        assert "<script>alert" not in page
        assert "<b>x" not in page


def test_it_shows_days_and_subscribers_of_a_server(client: Client) -> None:
    stored(a_report(), a_report(user_token="other", download=10), a_report(NOW - DAY))
    Subscriber.objects.filter(token="other").update(name="Bob")
    words = usage_on(client)
    assert "Total 17 B Subscribers 2 Reports 3 Days with traffic 2" in words
    assert "2024-02-10 14 B 2 2024-02-09 3 B 1" in words
    assert "Bob 1 B 10 B 11 B 1" in words


def test_protocols_of_one_port_never_mix(client: Client) -> None:
    stored(a_report(), a_report(protocol="trojan", download=100))
    server = Server.objects.get(protocol="vless")
    assert "Total 3 B" in text_of(client.get(url("server_usage", server.pk)))


def test_subscribers_are_linked_unless_they_are_deleted(client: Client) -> None:
    stored(a_report(), a_report(user_token="gone"))
    gone = subscriber("gone")
    Subscriber.objects.filter(pk=gone.pk).update(hidden_at=NOW)
    page = client.get(url("server_usage", Server.objects.get().pk)).content.decode()
    assert url("subscriber_usage", subscriber().pk) in page
    assert url("subscriber_usage", gone.pk) not in page
    assert "deleted" in page


def test_at_most_fifty_subscribers_of_a_server_are_named(client: Client) -> None:
    stored(*(a_report(user_token=f"user{number}") for number in range(51)))
    page = client.get(url("server_usage", Server.objects.get().pk))
    assert len(page.context["top"]) == 50
    assert "Subscribers 51" in text_of(page)


def test_links_are_for_those_who_may_follow_them() -> None:
    stored(a_report())
    client = staff("view_subscriber")
    page = client.get(url("subscriber_usage", subscriber().pk)).content.decode()
    assert "vpn.example.com:443 vless" in page
    assert url("server_usage", Server.objects.get().pk) not in page


def test_a_server_names_subscribers_without_links_to_who_may_not_see_them() -> None:
    stored(a_report())
    page = staff("view_server").get(url("server_usage", Server.objects.get().pk)).content.decode()
    assert str(subscriber()) in page
    assert url("subscriber_usage", subscriber().pk) not in page


@pytest.mark.parametrize("page", ["subscriber", "server"])
def test_a_page_costs_the_same_with_any_number_of_rows(page: str, client: Client) -> None:
    def cost() -> int:
        pk = {"subscriber": subscriber(), "server": Server.objects.get(host="vpn.example.com")}[
            page
        ].pk
        with queries() as found:
            assert client.get(url(f"{page}_usage", pk)).status_code == 200
        return len(found)

    def grow(numbers: range) -> None:
        for number in numbers:
            stored(
                a_report(server=f"s{number}.example.com"),
                a_report(NOW - number * HOUR, user_token=f"u{number}"),
            )
            stored(a_report(NOW - number * DAY))

    grow(range(3))
    few = cost()
    grow(range(3, 25))
    # Three of them are about limits on servers, the next package and devices.
    assert few == cost() <= 21


@pytest.mark.parametrize("page", ["subscriber", "server"])
def test_a_page_of_figures_is_only_read(page: str, client: Client) -> None:
    stored(a_report())
    pk = {"subscriber": subscriber(), "server": Server.objects.get()}[page].pk
    assert client.post(url(f"{page}_usage", pk)).status_code == 405
    assert client.head(url(f"{page}_usage", pk)).status_code == 200
