"""Finding a subscriber or a server from every page."""

import pytest
from django.test import Client

from tests.traffic.admin_pages import a_subscriber, operator, queries, staff, text_of, url
from tests.traffic.examples import a_report, stored
from traffic.models import Server

pytestmark = pytest.mark.django_db


def found(client: Client, term: str) -> str:
    return client.get("/admin/search/", {"s": term, "extended": "1"}).content.decode()


def test_a_subscriber_is_found_by_name() -> None:
    ann = a_subscriber("Анна")
    page = found(operator(), "анна")
    assert url("subscriber_change", ann.pk) in page
    assert "Анна" in page


def test_a_token_is_found_in_its_own_letters() -> None:
    ann = a_subscriber(token="AbC-token")
    assert url("subscriber_change", ann.pk) in found(operator(), "AbC-t")


def test_a_token_is_not_shown() -> None:
    a_subscriber(token="AbC-token-1234")
    assert "AbC-token" not in found(operator(), "AbC")


def test_a_server_is_found_by_its_host() -> None:
    stored(a_report())
    assert url("server_change", Server.objects.get().pk) in found(operator(), "vpn.exa")


def test_the_names_of_lists_are_found_too() -> None:
    assert "/admin/subscriptions/directconfig/" in found(operator(), "direct")


def test_only_what_a_person_may_see_is_found() -> None:
    ann = a_subscriber("vpn")
    stored(a_report())
    page = found(staff("view_server"), "vpn")
    assert url("server_change", Server.objects.get().pk) in page
    assert url("subscriber_change", ann.pk) not in page


def test_an_exact_name_comes_first() -> None:
    for name in ("Ann", "Joanna", "Anna", "Hann", *(f"Bob {number} ann" for number in range(10))):
        a_subscriber(name)
    page = found(operator(), "ann")
    assert page.index(">Ann<") < page.index(">Anna<") < page.index(">Bob 9 ann<")


def test_nothing_found_says_so() -> None:
    assert "No results" in text_of(
        operator().get("/admin/search/", {"s": "nobody", "extended": "1"})
    )


def test_a_search_among_many_costs_no_more() -> None:
    for number in range(30):
        a_subscriber(f"Ann {number}", token=f"token-{number}")
    client = operator()
    with queries() as asked:
        page = found(client, "ann")
    assert page.count("/admin/traffic/subscriber/") == 10
    assert len(asked) <= 5
