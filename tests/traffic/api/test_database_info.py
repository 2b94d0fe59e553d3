from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from tests.traffic.examples import DAY, NOW, STATISTICS, a_report, stored
from traffic.ledger import retention

pytestmark = pytest.mark.django_db
URL = f"{STATISTICS}/database/info"


@pytest.mark.parametrize("url", [URL, f"{URL}/"])
def test_it_answers_the_guide_word_for_word(reader: Client, settings: Settings, url: str) -> None:
    settings.XPERT_TRAFFIC_RETENTION_DAYS = 90
    stored(
        a_report(),
        a_report(protocol="trojan"),
        a_report(NOW - 20 * DAY, user_token="bob", server="b.example"),
    )
    found: dict[str, Any] = reader.get(url).json()
    size = found.pop("database_size_mb")
    assert isinstance(size, float)
    assert size > 0
    assert size == round(size, 2)
    path = found.pop("database_path")
    if connection.vendor == "sqlite":
        assert path == "data/traffic_stats.db"
    else:
        assert path.endswith(f"/{connection.settings_dict['NAME']}")
        assert "@" not in path
    assert found == {
        "total_records": 3,
        "unique_users": 2,
        "unique_servers": 2,
        "retention_days": 90,
    }


def test_it_counts_the_remaining_records_after_a_cleanup(reader: Client) -> None:
    stored(a_report(), a_report(NOW - 20 * DAY, user_token="bob", server="b.example"))
    retention.delete_records(10, NOW)
    found = reader.get(URL).json()
    assert (found["total_records"], found["unique_users"], found["unique_servers"]) == (1, 1, 1)
    assert found["retention_days"] == 0


def test_any_other_path_below_it_is_an_unknown_token(reader: Client) -> None:
    assert reader.get(f"{STATISTICS}/database").json()["servers"] == []
    assert reader.get(f"{STATISTICS}/database/other").json()["servers"] == []
