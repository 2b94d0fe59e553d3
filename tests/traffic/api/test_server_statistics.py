from typing import Any

import pytest
import time_machine
from django.test import Client

from tests.traffic.examples import DAY, GB, NOW, STATISTICS, a_report, stored

pytestmark = pytest.mark.django_db


def get(client: Client, path: str) -> Any:
    with time_machine.travel(NOW, tick=False):
        return client.get(f"{STATISTICS}/server/{path}")


@pytest.mark.parametrize("end", ["", "/"])
def test_a_server_has_totals_and_days(reader: Client, end: str) -> None:
    stored(
        a_report(upload=GB, download=GB),
        a_report(user_token="bob", protocol="trojan", upload=GB, download=0),
        a_report(NOW - DAY, upload=0, download=GB // 2),
    )
    assert get(reader, f"vpn.example.com/443{end}?days=7").json() == {
        "server": "vpn.example.com",
        "port": 443,
        "period_days": 7,
        "unique_users": 2,
        "total_gb_used": 3.5,
        "total_connections": 3,
        "avg_gb_per_connection": 1.167,
        "daily_stats": [
            {"date": "2024-02-09", "total_gb": 0.5, "unique_users": 1},
            {"date": "2024-02-10", "total_gb": 3.0, "unique_users": 2},
        ],
    }


def test_an_unknown_server_saw_nothing(reader: Client) -> None:
    assert get(reader, "nowhere.example/443").json() == {
        "server": "nowhere.example",
        "port": 443,
        "period_days": 30,
        "unique_users": 0,
        "total_gb_used": 0.0,
        "total_connections": 0,
        "avg_gb_per_connection": 0.0,
        "daily_stats": [],
    }


@pytest.mark.parametrize(
    ("asked", "reported"),
    [
        ("VPN.Example.com.", "vpn.example.com"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("%5B2001%3Adb8%3A%3A1%5D", "2001:db8::1"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
    ],
)
def test_a_server_is_found_however_it_is_written(reader: Client, asked: str, reported: str) -> None:
    stored(a_report(server=reported))
    found = get(reader, f"{asked}/443").json()
    assert (found["server"], found["total_connections"]) == (reported, 1)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("a%20b/443", "server"), ("%00/443", "server"), ("1.2.3/443", "server"), ("-a/443", "server"),
        ("a.example/0", "port"), ("a.example/65536", "port"), ("a.example/x", "port"), ("a.example/443.0", "port"),
        ("a.example/-1", "port"), ("a.example/%F9", "port"), ("a.example/" + "9" * 50, "port"),
    ],
)  # fmt: skip
def test_an_invalid_server_is_400_and_names_the_field(
    reader: Client, path: str, field: str
) -> None:
    response = get(reader, path)
    assert (response.status_code, list(response.json())) == (400, [field])
