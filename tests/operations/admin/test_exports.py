"""Downloads of lists: CSV and JSON, streamed, with the list's filters."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
import time_machine
from django.http import StreamingHttpResponse
from django.test import Client

from operations.tables import Table, download
from tests.traffic.admin_pages import a_subscriber, operator, queries, staff
from tests.traffic.examples import DAY, GB, HOUR, NOW, a_report, stored, window
from traffic.figures import statistics
from traffic.models import Server, Subscriber

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


def body(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


def rows(client: Client, address: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body(client.get(address)).removeprefix("\ufeff"))))


def test_subscribers_come_as_csv_with_exact_bytes(client: Client) -> None:
    a_subscriber(
        "Анна", token="anna-token-123", data_limit=4 * GB, expires_at=NOW + DAY, note="a, b\n“c”"
    )
    stored(a_report(user_token="anna-token-123", upload=1, download=2))
    answer = client.get(f"{SUBSCRIBERS}export/list.csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="subscribers-2024-02-10.csv"'
    assert rows(client, f"{SUBSCRIBERS}export/list.csv") == [
        {
            "name": "Анна",
            "token": "anna-token-123",
            "note": "a, b\n“c”",
            "active": "True",
            "data_limit": str(4 * GB),
            "limit_reset": "never",
            "reset_day": "1",
            "reset_days": "30",
            "expires": "2024-02-11T19:20:30+00:00",
            "hold_days": "",
            "device_limit": "",
            "last_day": "2024-02-11",
            "state": "active",
            "period_used": "3",
            "life_used": "3",
            "last_used_at": "2024-02-10T19:20:30+00:00",
            "created_at": "2024-02-10T19:20:30+00:00",
            "subscription_url": "http://testserver/api/xpert/sub?user_token=anna-token-123",
        }
    ]


def test_the_same_rows_are_offered_as_json(client: Client) -> None:
    a_subscriber("Анна", data_limit=GB)
    a_subscriber("Bob", is_active=False)
    found = json.loads(body(client.get(f"{SUBSCRIBERS}export/list.json")))
    assert [(row["name"], row["data_limit"], row["active"]) for row in found] == [
        ("Bob", None, False),
        ("Анна", GB, True),
    ]


def test_an_empty_list_is_an_empty_array(client: Client) -> None:
    assert json.loads(body(client.get(f"{SUBSCRIBERS}export/list.json"))) == []


def test_it_holds_what_the_list_would_show(client: Client) -> None:
    a_subscriber("Ann")
    a_subscriber("Bob", is_active=False)
    a_subscriber("Bea", is_active=False)
    a_subscriber("Gone", is_active=False, hidden_at=NOW)
    assert [
        row["name"] for row in rows(client, f"{SUBSCRIBERS}export/list.csv?state=disabled&q=b&o=1")
    ] == [
        "Bea",
        "Bob",
    ]
    (gone,) = rows(client, f"{SUBSCRIBERS}export/list.csv?shown=deleted")
    assert (gone["name"], gone["state"]) == ("Gone", "deleted")


def test_the_list_links_to_it_with_its_own_query(client: Client) -> None:
    a_subscriber("Bob", is_active=False)
    page = client.get(f"{SUBSCRIBERS}?state=disabled&p=1").content.decode()
    assert f'href="{SUBSCRIBERS}export/list.csv?state=disabled" download' in page
    assert f'href="{SUBSCRIBERS}export/days-30.json?state=disabled" download' in page


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", ";=1+1"])
def test_no_cell_begins_a_formula(text: str, client: Client) -> None:
    table = Table("t", ["a", "b"], [(text, -1)])
    read = list(
        csv.reader(
            io.StringIO(body(download(table, "csv", NOW)).removeprefix("\ufeff"), newline="")
        )
    )
    assert read == [["a", "b"], [f"'{text}", "-1"]]
    assert json.loads(body(download(table, "json", NOW))) == [{"a": text, "b": -1}]


def test_values_are_written_for_programs() -> None:
    table = Table(
        "t",
        list("abcd"),
        [(datetime(2024, 2, 10, 1, 2, 3, 999, tzinfo=UTC), None, True, date(2024, 2, 10))],
    )
    assert json.loads(body(download(table, "json", NOW))) == [
        {"a": "2024-02-10T01:02:03+00:00", "b": None, "c": True, "d": "2024-02-10"}
    ]


def test_users_who_may_not_change_get_no_whole_token() -> None:
    a_subscriber("Ann", token="a-secret-token-1234")
    client = staff("view_subscriber")
    text = body(client.get(f"{SUBSCRIBERS}export/list.csv"))
    assert "a-se…" in text
    assert "a-secret" not in text


def test_downloads_need_the_permission_to_look() -> None:
    assert staff("view_server").get(f"{SUBSCRIBERS}export/list.csv").status_code == 403
    assert Client().get(f"{SUBSCRIBERS}export/list.csv").status_code == 302


@pytest.mark.parametrize("name", ["nothing.csv", "list.xml", "days-7.csv"])
def test_an_unknown_download_is_not_found(name: str, client: Client) -> None:
    assert client.get(f"{SUBSCRIBERS}export/{name}").status_code == 404


def test_a_filter_typed_by_hand_leads_back_to_the_list(client: Client) -> None:
    assert client.get(f"{SUBSCRIBERS}export/list.csv?nonsense=1").status_code == 302


def test_a_download_is_only_read(client: Client) -> None:
    assert client.post(f"{SUBSCRIBERS}export/list.csv").status_code == 405


def test_usage_by_day_equals_the_statistics(client: Client) -> None:
    stored(
        a_report(upload=10),
        a_report(NOW - HOUR),
        a_report(NOW - DAY, server="b.example.com", port=8443),
    )
    stored(a_report(NOW - 40 * DAY, upload=5), a_report(user_token="other"))
    Subscriber.objects.filter(token="user123").update(name="Ann")
    found = rows(client, f"{SUBSCRIBERS}export/days-30.csv?q=Ann")
    assert [
        (row["date"], row["name"], row["server"], row["port"], row["upload_bytes"]) for row in found
    ] == [
        ("2024-02-09", "Ann", "b.example.com", "8443", "1"),
        ("2024-02-10", "Ann", "vpn.example.com", "443", "11"),
    ]
    total = sum(int(row["upload_bytes"]) + int(row["download_bytes"]) for row in found)
    assert total == statistics.user("user123", window()).total
    assert len(rows(client, f"{SUBSCRIBERS}export/days-365.csv?q=Ann")) == 3


def test_usage_of_servers_by_day_counts_everybody(client: Client) -> None:
    stored(a_report(), a_report(user_token="other"), a_report(NOW - DAY))
    found = json.loads(body(client.get(f"{SERVERS}export/days-30.json")))
    assert found == [
        {
            "date": day, "server": "vpn.example.com", "port": 443, "protocol": "vless",
            "upload_bytes": count, "download_bytes": 2 * count, "connections": count,
        }
        for day, count in (("2024-02-09", 1), ("2024-02-10", 2))
    ]  # fmt: skip


def test_servers_come_with_their_last_30_days(client: Client) -> None:
    stored(a_report(), a_report(NOW - 40 * DAY, upload=100), a_report(server="b.example.com"))
    Server.objects.filter(host="b.example.com").update(name="Berlin")
    found = rows(client, f"{SERVERS}export/list.csv?o=1")
    assert [(row["server"], row["name"], row["upload_bytes_30_days"]) for row in found] == [
        ("b.example.com", "Berlin", "1"),
        ("vpn.example.com", "", "1"),
    ]
    assert found[0]["last_hour"] == "2024-02-10T19:00:00+00:00"


def test_the_page_of_a_subscriber_links_to_their_days(client: Client) -> None:
    stored(a_report(), a_report(user_token="other"))
    ann = Subscriber.objects.get(token="user123")
    page = client.get(f"{SUBSCRIBERS}{ann.pk}/usage/").content.decode()
    address = f"{SUBSCRIBERS}export/days-365.csv?id={ann.pk}"
    assert f'href="{address}"' in page
    assert [row["subscriber_id"] for row in rows(client, address)] == [str(ann.pk)]


def test_many_rows_are_read_while_they_are_sent(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_STEP", 2)
    stored(*(a_report(user_token=f"user{number}") for number in range(5)))
    with queries() as found:
        answer = client.get(f"{SUBSCRIBERS}export/days-30.json")
        assert isinstance(answer, StreamingHttpResponse)
        assert len(json.loads(body(answer))) == 5
    assert len([sql for sql in found if "traffic_usage" in sql]) == 3
