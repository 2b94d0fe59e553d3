"""The operator's list and page of servers."""

from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client

from tests.traffic.admin_pages import act, listed, messages_of, operator, queries, text_of, url
from tests.traffic.examples import DAY, GB, HOUR, NOW, a_report, rows_stored, stored, sums
from traffic.models import MAX_COUNTER, Server, ServerUsage, Usage

pytestmark = pytest.mark.django_db

LIST = "/admin/traffic/server/"


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def test_the_list_shows_the_traffic_of_thirty_days(client: Client) -> None:
    stored(a_report(upload=GB, download=2 * GB), a_report(NOW - 31 * DAY, upload=9 * GB))
    assert "vpn.example.com 443 vless 1.00 GB 2.00 GB 3.00 GB 2024-02-10 19:00" in text_of(
        client.get(LIST)
    )


def test_a_server_without_recent_traffic_shows_when_it_was_used(client: Client) -> None:
    stored(a_report(NOW - 31 * DAY))
    assert "vless 0 B 0 B 0 B 2024-01-10 19:00" in text_of(client.get(LIST))


def test_a_server_without_records_was_never_used(client: Client) -> None:
    Server.objects.create(host="a.example.com", port=1, protocol="vless")
    assert "vless 0 B 0 B 0 B never" in text_of(client.get(LIST))


def test_an_empty_list_says_where_servers_come_from(client: Client) -> None:
    page = text_of(client.get(LIST))
    assert "No servers yet. Servers appear with their first report." in page
    assert client.get(f"{LIST}add/").status_code == 403


@pytest.mark.parametrize(
    ("column", "order"),
    [(1, "abcd"), (2, "dcba"), (4, "dbac"), (5, "dcab"), (6, "dcba"), (7, "dcab")],
)
def test_every_column_sorts_in_the_database(column: int, order: str, client: Client) -> None:
    stored(
        a_report(server="a.example.com", port=4, upload=20, download=80),
        a_report(NOW - HOUR, server="c.example.com", port=2, upload=50, download=10),
        a_report(server="b.example.com", port=3, upload=10, download=60),
        a_report(NOW + 2 * HOUR, server="b.example.com", port=3, upload=0, download=25),
    )
    Server.objects.create(host="d.example.com", port=1, protocol="vless")
    hosts = [
        server.host[0] for server in client.get(f"{LIST}?o={column}").context["cl"].result_list
    ]
    assert "".join(hosts) == order
    hosts = [
        server.host[0] for server in client.get(f"{LIST}?o=-{column}").context["cl"].result_list
    ]
    assert "".join(hosts) == order[::-1]


@pytest.mark.parametrize("column", [4, 5, 6])
def test_sums_beyond_64_bits_are_sorted_and_shown(column: int, client: Client) -> None:
    stored(a_report(server="small.example.com"), a_report(server="big.example.com"))
    big = Server.objects.get(host="big.example.com")
    for hour in range(1, 20):
        ServerUsage.objects.create(
            server=big, hour=NOW - hour * HOUR, upload=MAX_COUNTER, download=MAX_COUNTER
        )
    page = client.get(f"{LIST}?o=-{column}")
    assert listed(page) == ["big.example.com:443 vless", "small.example.com:443 vless"]
    assert "19456.00 PB 19456.00 PB 38912.00 PB" in text_of(page)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?q=alpha", "a"),
        ("?q=Berlin", "b"),
        ("?q=8443", "b"),
        ("?q=844", ""),
        ("?protocol=trojan", "b"),
    ],
)
def test_it_searches_and_filters(query: str, found: str, client: Client) -> None:
    stored(
        a_report(server="alpha.example.com"),
        a_report(server="beta.example.com", port=8443, protocol="trojan"),
    )
    Server.objects.filter(port=8443).update(name="berlin")
    assert "".join(name[0] for name in listed(client.get(LIST + query))) == found


@pytest.mark.parametrize("query", ["", "?o=-6", "?o=7", "?protocol=vless"])
def test_the_list_costs_the_same_with_any_number_of_rows(query: str, client: Client) -> None:
    def cost() -> list[str]:
        with queries() as found:
            assert client.get(LIST + query).status_code == 200
        return found

    stored(*(a_report(server=f"s{number}.example.com") for number in range(3)))
    few = cost()
    stored(*(a_report(NOW - number * DAY, server=f"s{number}.example.com") for number in range(40)))
    many = cost()
    assert len(few) == len(many) <= 6
    assert not [sql for sql in many if '"traffic_usage"' in sql]
    counts = [sql for sql in many if "COUNT(" in sql]
    assert counts
    assert not [sql for sql in counts if "traffic_serverusage" in sql]


def test_only_the_name_can_be_edited(client: Client) -> None:
    stored(a_report())
    server = Server.objects.get()
    edit = {"name": "Berlin", "host": "evil.example.com", "port": "1", "protocol": "x"}
    client.post(url("server_change", server.pk), edit)
    server.refresh_from_db()
    assert (str(server), server.name) == ("vpn.example.com:443 vless", "Berlin")
    assert "vpn.example.com Berlin 443" in text_of(client.get(LIST))


def test_the_page_leads_to_the_usage(client: Client) -> None:
    stored(a_report())
    server = Server.objects.get()
    assert (
        url("server_usage", server.pk)
        in client.get(url("server_change", server.pk)).content.decode()
    )


def test_deleting_hides_and_keeps_every_sum(client: Client) -> None:
    stored(a_report())
    server = Server.objects.get()
    before, figures = rows_stored(), sums(Usage, ServerUsage)
    with queries() as found:
        question = client.get(url("server_delete", server.pk))
    assert "Reports about it are still counted" in text_of(question)
    assert not [sql for sql in found if '"traffic_usage"' in sql]
    answer = client.post(url("server_delete", server.pk), {"post": "yes"}, follow=True)
    assert messages_of(answer) == [
        "vpn.example.com:443 vless is hidden from now on; its traffic stays in the totals."
    ]
    assert listed(answer) == []
    assert (rows_stored(), sums(Usage, ServerUsage)) == (before, figures)


def test_many_are_deleted_together(client: Client) -> None:
    stored(a_report(), a_report(port=1), a_report(port=2))
    first, second = Server.objects.order_by("port")[:2]
    answer = act(client, "server", "delete_selected", first, second, post="yes")
    assert messages_of(answer) == [
        "2 servers are hidden from now on; the traffic stays in the totals."
    ]
    assert listed(answer) == ["vpn.example.com:443 vless"]


def test_a_deleted_server_is_still_counted_and_stays_hidden(client: Client) -> None:
    stored(a_report())
    Server.objects.update(hidden_at=NOW)
    stored(a_report())
    assert ServerUsage.objects.get().reports == 2
    assert listed(client.get(LIST)) == []
