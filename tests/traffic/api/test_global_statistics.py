from typing import Any

import pytest
import time_machine
from django.test import Client

from tests.traffic.examples import GB, NOW, STATISTICS, a_report, stored

pytestmark = pytest.mark.django_db


def get(client: Client, query: str = "", end: str = "") -> Any:
    with time_machine.travel(NOW, tick=False):
        return client.get(f"{STATISTICS}/global{end}{query}")


@pytest.mark.parametrize("end", ["", "/"])
def test_it_answers_the_guide_word_for_word(reader: Client, end: str) -> None:
    stored(
        a_report(server="fast.vpn.com", upload=GB, download=44 * GB),
        a_report(
            server="fast.vpn.com", user_token="bob", protocol="trojan", upload=0, download=GB // 8
        ),
        a_report(server="slow.vpn.com", port=8443, upload=0, download=0),
    )
    assert get(reader, "?days=7", end).json() == {
        "total_users": 2,
        "total_servers": 2,
        "total_gb_used": 45.125,
        "total_connections": 3,
        "total_protocols": 2,
        "period_days": 7,
        "top_servers": [
            {"server": "fast.vpn.com", "port": 443, "protocol": "vless", "total_gb": 45.0},
            {"server": "fast.vpn.com", "port": 443, "protocol": "trojan", "total_gb": 0.125},
            {"server": "slow.vpn.com", "port": 8443, "protocol": "vless", "total_gb": 0.0},
        ],
        "servers": [],
    }


def test_an_empty_panel_answers_with_zeros(reader: Client) -> None:
    assert get(reader).json() == {
        "total_users": 0,
        "total_servers": 0,
        "total_gb_used": 0.0,
        "total_connections": 0,
        "total_protocols": 0,
        "period_days": 30,
        "top_servers": [],
        "servers": [],
    }


def test_ten_servers_are_shown(reader: Client) -> None:
    stored(*[a_report(server=f"s{number:02}.example", upload=number * GB) for number in range(12)])
    found = get(reader).json()
    assert [server["server"] for server in found["top_servers"]] == [
        f"s{number:02}.example" for number in range(11, 1, -1)
    ]
    assert found["total_servers"] == 12


def test_sums_beyond_64_bits_are_numbers(reader: Client) -> None:
    stored(
        *[
            a_report(user_token=f"user{n}", server=f"s{n}.example", upload=2**60, download=2**60)
            for n in range(10)
        ]
    )
    assert get(reader).json()["total_gb_used"] == 10 * 2**31


def test_it_keeps_answering_while_tracking_is_off(reader: Client, settings: Any) -> None:
    stored(a_report())
    settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
    assert get(reader).json()["total_users"] == 1


@pytest.mark.parametrize("days", ["0", "3651", "x", ""])
@pytest.mark.parametrize(
    "path",
    [
        "traffic-stats/global",
        "traffic-stats/global/series",
        "marzban-traffic-stats",
        "traffic-stats/server/a.example/443",
    ],
)
def test_bad_days_are_400_naming_the_field(reader: Client, path: str, days: str) -> None:
    response = reader.get(f"/api/xpert/{path}?days={days}")
    assert (response.status_code, list(response.json())) == (400, ["days"])
