from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import Settings

from tests.traffic.examples import GB, NOW, a_report, stored

pytestmark = pytest.mark.django_db
TAIL = {"integration_type": "xpert_panel", "data_source": "traffic_monitoring_system"}


def get(client: Client, path: str = "/api/xpert/marzban-traffic-stats") -> Any:
    with time_machine.travel(NOW, tick=False):
        return client.get(path)


@pytest.mark.parametrize(
    "path", ["/api/xpert/marzban-traffic-stats?days=7", "/api/xpert/marzban-traffic-stats/?days=7"]
)
def test_it_answers_the_guide_word_for_word(reader: Client, path: str) -> None:
    stored(
        a_report(upload=GB, download=GB),
        a_report(user_token="bob", server="b.example", protocol="trojan"),
    )
    assert get(reader, path).json() == {
        "users_traffic": {
            "total_users": 2,
            "total_servers": 2,
            "total_gb_used": 2.0,
            "total_connections": 2,
            "total_protocols": 2,
            "period_days": 7,
            "external_servers": True,
            **TAIL,
        }
    }


def test_while_tracking_is_off_it_answers_with_zeros(reader: Client, settings: Settings) -> None:
    stored(a_report())
    settings.XPERT_TRAFFIC_TRACKING_ENABLED = False
    response = get(reader)
    assert response.status_code == 200
    assert response.json() == {
        "users_traffic": {
            "total_users": 0,
            "total_servers": 0,
            "total_gb_used": 0.0,
            "total_connections": 0,
            "total_protocols": 0,
            "period_days": 30,
            "external_servers": False,
            **TAIL,
        }
    }
