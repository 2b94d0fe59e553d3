from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.traffic.examples import DAY, GB, NOW, STATISTICS, a_report, stored

pytestmark = pytest.mark.django_db


def get(token: str, query: str = "") -> Any:
    with time_machine.travel(NOW, tick=False):
        return Client().get(f"{STATISTICS}/{token}{query}")


@pytest.mark.parametrize("end", ["", "/"])
def test_it_answers_the_guide_word_for_word(end: str) -> None:
    stored(
        a_report(upload=int(0.856 * GB), download=int(1.6 * GB) + 1),
        a_report(NOW - DAY, upload=0, download=0),
        a_report(server="slow.vpn.com", port=8443, protocol="trojan", upload=0, download=GB // 4),
    )
    response = get(f"user123{end}", "?days=30")
    assert response["Content-Type"] == "application/json"
    assert response.json() == {
        "user_token": "user123",
        "total_gb_used": 2.706,
        "period_days": 30,
        "servers": [
            {
                "server": "vpn.example.com",
                "port": 443,
                "protocol": "vless",
                "upload_gb": 0.856,
                "download_gb": 1.6,
                "total_gb": 2.456,
                "connections": 2,
                "last_used": "2024-02-10 19:20:30",
            },
            {
                "server": "slow.vpn.com",
                "port": 8443,
                "protocol": "trojan",
                "upload_gb": 0.0,
                "download_gb": 0.25,
                "total_gb": 0.25,
                "connections": 1,
                "last_used": "2024-02-10 19:20:30",
            },
        ],
    }


def test_totals_are_made_from_bytes_and_not_from_rounded_gb() -> None:
    tiny = GB // 2000 - 1  # rounds to 0.000
    stored(
        *[a_report(server=f"s{number}.example", upload=tiny, download=0) for number in range(10)]
    )
    found = get("user123").json()
    assert {server["total_gb"] for server in found["servers"]} == {0.0}
    assert found["total_gb_used"] == 0.005


def test_numbers_are_numbers() -> None:
    stored(a_report(upload=2**60, download=2**60))
    found = get("user123").json()
    (server,) = found["servers"]
    assert server["total_gb"] == found["total_gb_used"] == 2**31
    assert {name: type(value) for name, value in server.items()} == {
        "server": str, "port": int, "protocol": str, "upload_gb": float, "download_gb": float, "total_gb": float,
        "connections": int, "last_used": str,
    }  # fmt: skip


@pytest.mark.parametrize(
    "token",
    [
        "nobody", "a", "a%20b", "%00", "%FF", "é", "a" * 256, "%2e%2e", "a%2Fb", "a/b/c", "x'--", "<script>", "%0A", "a%0A",
        "user123%20", "global2", "server", "database", "cleanup2", "{}", "a+b%3D", "..", "%25", "a;b", "~", "a?b=c",
    ],
)  # fmt: skip
def test_an_unknown_token_answers_with_zeros(token: str) -> None:
    stored(a_report())
    response = get(token)
    assert response.status_code == 200
    found = response.json()
    assert {**found, "user_token": ""} == {
        "user_token": "",
        "total_gb_used": 0.0,
        "period_days": 30,
        "servers": [],
    }
    assert isinstance(found["total_gb_used"], float)


def test_nothing_typed_yet_answers_with_zeros() -> None:
    response = Client().get(f"{STATISTICS}/?days=7")
    assert response.json() == {
        "user_token": "",
        "total_gb_used": 0.0,
        "period_days": 7,
        "servers": [],
    }


def test_the_token_is_echoed_as_it_was_asked_for() -> None:
    stored(a_report(user_token="a+b@c:d=e~f"))
    assert get("a+b@c:d=e~f").json()["user_token"] == "a+b@c:d=e~f"
    assert get("a%2Bb%40c%3Ad%3De~f").json()["servers"]
    assert get("%3Cb%3E%22").json()["user_token"] == '<b>"'


@pytest.mark.parametrize("token", ["nobody", "user123", ""])
@pytest.mark.parametrize(("days", "shown"), [("1", 1), ("3650", 3650), ("030", 30), ("", 30)])
def test_days_reach_from_1_to_3650(token: str, days: str, shown: int) -> None:
    query = f"?days={days}" if days else ""
    assert get(token, query).json()["period_days"] == shown


@pytest.mark.parametrize(
    "days",
    [
        "0",
        "-1",
        "3651",
        "",
        "abc",
        "1.5",
        "+5",
        "%20",
        "1e1",
        "٣",
        "99999999999999999999",
        "NaN",
        "30;",
    ],
)
@pytest.mark.parametrize("path", ["user123", "nobody", "user123/series", "nobody/series"])
def test_any_other_days_are_400_naming_the_field(path: str, days: str) -> None:
    response = get(path, f"?days={days}")
    assert (response.status_code, list(response.json())) == (400, ["days"])
    assert isinstance(response.json()["days"], list)


def test_the_last_of_two_days_parameters_counts() -> None:
    assert get("user123", "?days=0&days=7").json()["period_days"] == 7


def test_it_is_one_answer_for_the_format_and_the_accept_of_anybody() -> None:
    stored(a_report())
    for query, accept in (
        ("?format=xml", "*/*"),
        ("?format=", "text/html"),
        ("", "application/xml"),
        ("", "x"),
    ):
        with time_machine.travel(NOW, tick=False):
            response = Client().get(f"{STATISTICS}/user123{query}", headers={"accept": accept})
        assert response.json()["servers"]


def test_it_costs_the_same_queries_for_any_number_of_servers(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for size in (1, 30):
        stored(*[a_report(server=f"s{number}.example") for number in range(size)])
        with django_assert_num_queries(4):
            get("user123")
