"""``GET /api/xpert/servers``: the names of a list and the servers behind them."""

from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.subscriptions.examples import SUB, direct, subscriber
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
SERVERS = "/api/xpert/servers"


@pytest.fixture
def person() -> Subscriber:
    return subscriber()


def servers(token: str) -> Any:
    return Client().get(SERVERS, {"user_token": token})


def test_a_server_is_named_with_its_endpoint(person: Subscriber) -> None:
    direct("trojan://secret@fast.vpn.com:443?security=tls#Frankfurt")
    answer = servers(person.token)
    assert answer.json() == {
        "servers": [
            {"name": "Frankfurt", "server": "fast.vpn.com", "port": 443, "protocol": "trojan"}
        ]
    }
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_names_are_those_of_the_lists(person: Subscriber) -> None:
    for host in ("a.example.com", "b.example.com"):
        direct(f"trojan://secret@{host}:443?security=tls#Same")
    listed = Client().get(SUB, {"user_token": person.token, "format": "mihomo"})
    names = [proxy["name"] for proxy in yaml.safe_load(listed.content)["proxies"]]
    assert [found["name"] for found in servers(person.token).json()["servers"]] == names
    assert names == ["Same", "Same 2"]


@pytest.mark.parametrize("token", ["", "nobody", "not a token"])
def test_an_unknown_token_is_404_without_a_body_and_creates_nobody(
    token: str, settings: Settings
) -> None:
    settings.XPERT_OPEN_ACCESS = True
    answer = Client(headers={"host": "127.0.0.1"}).get(SERVERS, {"user_token": token})
    assert (answer.status_code, answer.content) == (404, b"")
    assert not Subscriber.objects.exists()


def test_an_expired_subscriber_gets_an_empty_list(person: Subscriber) -> None:
    direct("trojan://secret@fast.vpn.com:443?security=tls#Frankfurt")
    Subscriber.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert servers(person.token).json() == {"servers": []}


def test_it_is_limited_like_a_subscription(person: Subscriber, settings: Settings) -> None:
    settings.XPERT_RATE_SUBSCRIPTIONS = "1/min"
    assert servers(person.token).status_code == 200
    refused = servers(person.token)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0


def test_it_is_only_read(person: Subscriber) -> None:
    assert Client().post(f"{SERVERS}?user_token={person.token}").status_code == 405
    assert Client().head(SERVERS, {"user_token": person.token}).content == b""
