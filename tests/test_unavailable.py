"""What the panel does when something under it is gone, or a client is as slow as it can."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.core.cache import cache
from django.db import OperationalError
from django.test import Client, RequestFactory
from pytest_django import Settings
from redis.exceptions import ConnectionError as RedisIsGone

from traffic import statistics
from traffic.conf import conf
from traffic.throttling import address_of, penalise, spend

from .test_crash import Panel, database

__all__ = ["database"]  # fixture
REPORT = {"user_token": "ann", "server": "vpn.example.com", "port": 443, "protocol": "vless"}


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object, **kwargs: object) -> None:
        raise RedisIsGone("gone")

    for name in ("get", "set", "add", "incr"):
        monkeypatch.setattr(cache, name, gone, raising=False)


@pytest.mark.django_db
def test_without_its_cache_the_panel_goes_on_unlimited(settings: Settings, no_cache: None) -> None:
    settings.XPERT_OPEN_ACCESS, settings.XPERT_RATE_REPORTS, settings.XPERT_RATE_ADDRESS = True, "1/day", "1/day"
    penalise("token", "ann", conf.rate_reports)
    assert spend("token", "ann", conf.rate_reports) is None
    client = Client()
    for _ in range(2):
        assert client.post("/api/xpert/traffic-webhook", REPORT, "application/json").status_code == 200
        assert client.get("/api/xpert/sub?user_token=ann").status_code == 200


@pytest.mark.django_db
def test_a_database_that_is_busy_is_503_in_the_admin_too(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: object, **kwargs: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(statistics, "with_traffic", busy)
    answer = admin_client.get("/admin/traffic/server/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


@pytest.mark.django_db
def test_a_year_that_no_calendar_has_is_no_accident_in_the_admin(admin_client: Client) -> None:
    answer = admin_client.get("/admin/traffic/subscriber/?created_at__year=99999")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/traffic/subscriber/?e=1")


def test_an_ipv6_line_is_one_client() -> None:
    factory = RequestFactory()
    first, second = (address_of(factory.get("/", REMOTE_ADDR=f"2001:db8::{n}")) for n in (1, 2))
    other = address_of(factory.get("/", REMOTE_ADDR="2001:db8:0:1::1"))
    assert first == second != other
    assert address_of(factory.get("/", REMOTE_ADDR="192.0.2.1")) == "192.0.2.1"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_healthz_only_reads(method: str) -> None:
    answer = Client(enforce_csrf_checks=True).generic(method, "/healthz")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")
    assert answer["Content-Type"] == "application/json"


@pytest.fixture
def panel(database: dict[str, str], tmp_path: Path) -> Iterator[Panel]:
    found = Panel(database, tmp_path / "server.log")
    try:
        found.wait()
        yield found
    finally:
        found.kill_everything()


def test_clients_that_send_slowly_or_nothing_stop_nobody(panel: Panel) -> None:
    head = b"POST /api/xpert/traffic-webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 81\r\n\r\n{"
    slow = []
    for number in range(40):
        connection = socket.create_connection(("127.0.0.1", panel.port))
        connection.sendall((head, b"GET /h", b"")[number % 3])
        slow.append(connection)
    try:
        assert requests.post(f"{panel.url}/traffic-webhook", json=REPORT, timeout=30).status_code == 200
    finally:
        for connection in slow:
            connection.close()


def test_a_request_that_never_ends_is_given_up(panel: Panel) -> None:
    with socket.create_connection(("127.0.0.1", panel.port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        begun = time.monotonic()
        while connection.recv(1024):
            assert time.monotonic() - begun < 60


def test_who_is_refused_need_not_send_the_rest(panel: Panel) -> None:
    head = b"POST /api/xpert/traffic-stats/cleanup HTTP/1.1\r\nHost: evil\r\nX-Forwarded-For: 1.1.1.1\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", panel.port), timeout=15) as connection:
        connection.sendall(head.replace(b"evil", b"127.0.0.1"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_malformed_request_line_is_not_quoted_in_the_log(panel: Panel) -> None:
    with socket.create_connection(("127.0.0.1", panel.port), timeout=15) as connection:
        connection.sendall(
            b"GET /api/xpert/sub?user_token=SECRETTOKEN123&n=\xd1\x91 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        )
        assert b" 400 " in connection.recv(4096)
    panel.stop()
    assert "SECRETTOKEN123" not in panel.log.read_text()
