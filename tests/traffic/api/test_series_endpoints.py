from typing import Any

import pytest
import time_machine
from django.test import Client

from tests.traffic.examples import HOUR, NOW, STATISTICS, a_report, stored

pytestmark = pytest.mark.django_db


def get(client: Client, path: str) -> Any:
    with time_machine.travel(NOW, tick=False):
        return client.get(f"{STATISTICS}/{path}")


@pytest.mark.parametrize(
    "path", ["user123/series", "user123/series/", "global/series", "global/series/"]
)
def test_a_series_is_ready_for_a_chart(reader: Client, path: str) -> None:
    stored(a_report(upload=5, download=7), a_report(NOW - 26 * HOUR, upload=1))
    assert get(reader, f"{path}?days=2").json() == {
        "bucket": "day",
        "from": "2024-02-08T19:00:00+00:00",
        "to": "2024-02-10T19:20:30+00:00",
        "points": [
            {
                "time": "2024-02-08T00:00:00+00:00",
                "upload_bytes": 0,
                "download_bytes": 0,
                "connections": 0,
            },
            {
                "time": "2024-02-09T00:00:00+00:00",
                "upload_bytes": 1,
                "download_bytes": 2,
                "connections": 1,
            },
            {
                "time": "2024-02-10T00:00:00+00:00",
                "upload_bytes": 5,
                "download_bytes": 7,
                "connections": 1,
            },
        ],
    }


def test_a_zone_gives_its_offset_to_all_times(reader: Client) -> None:
    found = get(reader, "global/series?days=1&tz=Europe/Moscow").json()
    assert (found["from"], found["to"]) == (
        "2024-02-09T22:00:00+03:00",
        "2024-02-10T22:20:30+03:00",
    )
    assert [point["time"] for point in found["points"]] == [
        "2024-02-09T00:00:00+03:00",
        "2024-02-10T00:00:00+03:00",
    ]


def test_a_series_by_hour(reader: Client) -> None:
    stored(a_report())
    found = get(reader, "user123/series?days=1&bucket=hour&tz=Asia/Tehran").json()
    assert found["bucket"] == "hour"
    assert len(found["points"]) == 25
    assert found["points"][-1] == {
        "time": "2024-02-10T22:30:00+03:30", "upload_bytes": 1, "download_bytes": 2, "connections": 1,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["user123/series", "nobody/series", "global/series"])
def test_hourly_buckets_reach_at_most_31_days_back(reader: Client, path: str) -> None:
    for days in (30, 31):
        assert len(get(reader, f"{path}?bucket=hour&days={days}").json()["points"]) == days * 24 + 1
    response = get(reader, f"{path}?bucket=hour&days=32")
    assert (response.status_code, list(response.json())) == (400, ["days"])
    assert len(get(reader, f"{path}?bucket=day&days=3650").json()["points"]) == 3651 - 1
    assert get(reader, f"{path}?bucket=hour").status_code == 200  # 30 days, unless said otherwise


@pytest.mark.parametrize("path", ["user123/series", "nobody/series", "global/series"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("bucket=week", "bucket"), ("bucket=", "bucket"), ("bucket=Hour", "bucket"), ("tz=", "tz"), ("tz=Moscow", "tz"),
        ("tz=%00", "tz"), ("tz=../../etc/passwd", "tz"), ("tz=/etc/localtime", "tz"), ("tz=europe/moscow", "tz"),
        ("tz=%2B03:00", "tz"), ("days=0", "days"), ("bucket=hour&days=x", "days"), ("tz=" + "a" * 3000, "tz"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_400_naming_it(
    reader: Client, path: str, query: str, field: str
) -> None:
    response = get(reader, f"{path}?{query}")
    assert (response.status_code, list(response.json())) == (400, [field])


def test_an_unknown_token_is_all_zeros(reader: Client) -> None:
    stored(a_report())
    for token in ("nobody", "a%20b", "%00", "é"):
        points = get(reader, f"{token}/series?days=3").json()["points"]
        assert [point["connections"] for point in points] == [0, 0, 0, 0]


def test_numbers_are_exact_integers(reader: Client) -> None:
    stored(
        *[
            a_report(user_token=f"user{n}", server=f"s{n}.example", upload=2**60 - n)
            for n in range(9)
        ]
    )
    assert (
        get(reader, "global/series?days=1").json()["points"][-1]["upload_bytes"] == 9 * 2**60 - 36
    )


def test_a_user_of_the_name_series_has_a_series_too(reader: Client) -> None:
    stored(a_report(user_token="series"))
    assert get(reader, "series/series?days=1").json()["points"][-1]["connections"] == 1
    assert get(reader, "series").json()["user_token"] == "series"
