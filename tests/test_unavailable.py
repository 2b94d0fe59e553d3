"""The panel with a missing cache, a busy database or very slow clients."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.contrib.auth.backends import ModelBackend
from django.core.cache import cache
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from pytest_django import Settings
from redis.exceptions import ConnectionError as RedisIsGone

from operations.api.throttling import address_of, spend_address
from operations.rate_limits import penalise, spend
from tests.test_crash import Panel, database
from traffic.conf import conf
from traffic.figures import statistics

__all__ = ["database"]  # fixture
REPORT = {"user_token": "ann", "server": "vpn.example.com", "port": 443, "protocol": "vless"}


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object, **kwargs: object) -> None:
        raise RedisIsGone("gone")

    for name in ("get", "set", "add", "incr"):
        monkeypatch.setattr(cache, name, gone, raising=False)


@pytest.mark.django_db
def test_without_its_cache_the_panel_works_without_limits(
    settings: Settings, no_cache: None
) -> None:
    settings.XPERT_OPEN_ACCESS, settings.XPERT_RATE_REPORTS, settings.XPERT_RATE_ADDRESS = (
        True,
        "1/day",
        "1/day",
    )
    penalise("token", "ann", conf.rate_reports)
    assert spend("token", "ann", conf.rate_reports) is None
    client = Client(headers={"host": "127.0.0.1:8000"})
    for _ in range(2):
        assert (
            client.post("/api/xpert/traffic-webhook", REPORT, "application/json").status_code == 200
        )
        assert client.get("/api/xpert/sub?user_token=ann").status_code == 200


@pytest.mark.django_db
def test_a_database_that_is_busy_is_503_in_the_admin_too(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*args: object, **kwargs: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(statistics, "with_traffic", busy)
    answer = admin_client.get("/admin/traffic/server/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


@pytest.mark.django_db
def test_an_impossible_year_is_not_an_error_in_the_admin(admin_client: Client) -> None:
    answer = admin_client.get("/admin/traffic/subscriber/?created_at__year=99999")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/traffic/subscriber/?e=1")


@pytest.mark.parametrize(
    ("network", "accepted"), [("2001:db8:1:{:x}::1", 32), ("2001:db8:{:x}::1", 40)]
)
def test_the_lines_of_one_ipv6_customer_share_a_limit(
    settings: Settings, network: str, accepted: int
) -> None:
    settings.XPERT_RATE_ADDRESS = "2/day"
    factory = RequestFactory()
    requests = [factory.get("/", REMOTE_ADDR=network.format(line)) for line in range(40)]
    assert [spend_address(request) for request in requests].count(None) == accepted


@pytest.mark.django_db
def test_signing_in_is_limited_by_address_before_a_password_is_hashed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.XPERT_RATE_LOGIN = "3/day"
    hashed: list[object] = []
    monkeypatch.setattr(
        ModelBackend, "authenticate", lambda self, request, *given, **_: hashed.append(given)
    )
    client = Client()
    for number in range(5):
        answer = client.post("/admin/login/", {"username": f"name{number}", "password": "wrong"})
    assert len(hashed) == 3
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 3600
    assert "from your address" in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "DELETE"])
def test_the_admin_takes_no_method_for_a_get(admin_client: Client, method: str) -> None:
    answer = admin_client.generic(method, "/admin/traffic/subscriber/")
    assert (answer.status_code, answer["Allow"], answer.content) == (405, "GET, HEAD, POST", b"")


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


def test_slow_and_silent_clients_do_not_block_others(panel: Panel) -> None:
    head = b"POST /api/xpert/traffic-webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 81\r\n\r\n{"
    slow = []
    for number in range(40):
        connection = socket.create_connection(("127.0.0.1", panel.port))
        connection.sendall((head, b"GET /h", b"")[number % 3])
        slow.append(connection)
    try:
        assert (
            requests.post(f"{panel.url}/traffic-webhook", json=REPORT, timeout=30).status_code
            == 200
        )
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite's files")
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_nothing_is_acknowledged_into_a_file_that_is_gone(
    panel: Panel, database: dict[str, str], suffix: str
) -> None:
    def statuses() -> set[int]:
        return {
            requests.post(f"{panel.url}/traffic-webhook", json=REPORT, timeout=30).status_code
            for _ in range(12)
        }

    assert statuses() == {200}
    file = Path(f"{database['XPERT_TRAFFIC_DB_PATH']}{suffix}")
    kept = file.with_name("kept")
    kept.hardlink_to(file)
    file.unlink()
    assert statuses() == {503}
    with pytest.raises(AssertionError, match="removed or replaced while it was in use"):
        panel.manage("doctor")
    kept.replace(file)
    panel.stop()
    panel.start()
    panel.wait()
    answer = requests.get(f"{panel.url}/traffic-stats/ann", timeout=30).json()
    assert [server["connections"] for server in answer["servers"]] == [12]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /h",
        b"POST /api/xpert/traffic-webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 81\r\n\r\n{",
    ],
)
def test_hundreds_of_clients_that_never_finish_leave_threads_for_others(
    panel: Panel, sent: bytes
) -> None:
    slow = [socket.create_connection(("127.0.0.1", panel.port)) for _ in range(300)]
    try:
        for connection in slow:
            connection.sendall(sent)
        # Well below the 20 seconds after which each of them would be given up.
        assert requests.post(f"{panel.url}/traffic-webhook", json=REPORT, timeout=15).ok
    finally:
        for connection in slow:
            connection.close()


def test_a_version_of_http_that_does_not_exist_is_refused(panel: Panel) -> None:
    with socket.create_connection(("127.0.0.1", panel.port), timeout=15) as connection:
        connection.sendall(b"GET /healthz HTTP/1.9\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 505 ")


def test_a_request_that_never_ends_is_given_up(panel: Panel) -> None:
    with socket.create_connection(("127.0.0.1", panel.port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        begun = time.monotonic()
        while connection.recv(1024):
            assert time.monotonic() - begun < 60


def test_a_refused_client_need_not_send_the_rest_of_its_request(panel: Panel) -> None:
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
