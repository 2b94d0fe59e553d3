"""The guide's own client against a real server: every JSON, header and status is as in the guide."""

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from django.conf import settings

from tests.test_crash import Panel, own_database

PATIENCE = 240  # seconds; a hanging server must fail
GB = 2**30
DAY = 86_400
RECORDED = {"status": "success", "message": "Traffic recorded successfully"}
LINKS = [
    "vless://2b7c1d1e-6f1c-4b43-9f0b-0d4c6a4f7a10@vpn.example.com:443?security=tls#Vienna",
    "trojan://secret@fast.vpn.com:443?security=tls#Frankfurt",
]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    folder = tmp_path_factory.mktemp("guide")
    with own_database(folder) as database:
        panel = Panel(database, folder / "server.log")
        try:
            panel.wait()
            yield panel
            panel.stop()
            assert "Traceback" not in panel.log.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                panel.kill_everything()


@pytest.fixture
def empty_panel(panel: Panel) -> Panel:
    """A panel without records, so that the global figures are those of one test."""
    assert (
        requests.post(f"{panel.url}/traffic-stats/cleanup?days=0", timeout=PATIENCE).status_code
        == 200
    )
    return panel


def get(panel: Panel, path: str) -> requests.Response:
    return requests.get(f"{panel.url}/{path}", timeout=PATIENCE)


def post(panel: Panel, path: str, body: Any = None) -> requests.Response:
    return requests.post(f"{panel.url}/{path}", json=body, timeout=PATIENCE)


def report(**fields: Any) -> dict[str, Any]:
    """The guide's report."""
    return {
        "user_token": "user123",
        "server": "vpn.example.com",
        "port": 443,
        "protocol": "vless",
        "bytes_uploaded": 1048576,
        "bytes_downloaded": 2097152,
    } | fields


def assert_exact(response: requests.Response, expected: dict[str, Any], status: int = 200) -> None:
    """Compare values, types (1.0 is not 1) and the order of keys."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    assert json.dumps(response.json()) == json.dumps(expected)


def send_the_guides_usage(panel: Panel, token: str) -> int:
    """Send 15 reports with a total of 0.856 GB up and 1.6 GB down; returns the time of the last traffic."""
    last = int(time.time()) - 60
    upload, download = int(0.856 * GB), int(1.6 * GB)
    rest = report(
        user_token=token, bytes_uploaded=upload % 15, bytes_downloaded=download % 15, timestamp=last
    )
    reports = [
        rest
        | {
            "bytes_uploaded": upload // 15,
            "bytes_downloaded": download // 15,
            "timestamp": last - number,
        }
        for number in range(1, 15)
    ]
    rest["bytes_uploaded"] += upload // 15
    rest["bytes_downloaded"] += download // 15
    answer = post(panel, "traffic-webhook", {"reports": [*reports, rest]})
    assert (answer.status_code, answer.json()["recorded"]) == (200, 15)
    return last


def test_the_client_of_the_guide(panel: Panel) -> None:
    """It knows one URL, and reads the rest from the headers of the answer."""
    subscription = get(panel, "sub?user_token=client")
    webhook, token = subscription.headers["Traffic-Webhook"], subscription.headers["User-Token"]
    assert (webhook, token) == (f"{panel.url}/traffic-webhook", "client")

    assert_exact(requests.post(webhook, json=report(user_token=token), timeout=PATIENCE), RECORDED)

    found = get(panel, f"traffic-stats/{token}?days=30")
    last_used = datetime.fromisoformat(found.json()["servers"][0]["last_used"]).replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - last_used).total_seconds()) < PATIENCE
    server = {"server": "vpn.example.com", "port": 443, "protocol": "vless"}
    figures = {"upload_gb": 0.001, "download_gb": 0.002, "total_gb": 0.003, "connections": 1}
    expected = {"user_token": "client", "total_gb_used": 0.003, "period_days": 30}
    assert_exact(
        found,
        expected
        | {"servers": [server | figures | {"last_used": f"{last_used:%Y-%m-%d %H:%M:%S}"}]},
    )

    again = get(panel, "sub?user_token=client")
    assert (
        again.headers["Subscription-Userinfo"]
        == "upload=1048576; download=2097152; total=3145728; expire=0"
    )


def test_statistics_of_a_user_have_the_guides_figures(panel: Panel) -> None:
    last = send_the_guides_usage(panel, "figures")
    assert_exact(
        get(panel, "traffic-stats/figures?days=30"),
        {
            "user_token": "figures",
            "total_gb_used": 2.456,
            "period_days": 30,
            "servers": [
                {
                    "server": "vpn.example.com",
                    "port": 443,
                    "protocol": "vless",
                    "upload_gb": 0.856,
                    "download_gb": 1.6,
                    "total_gb": 2.456,
                    "connections": 15,
                    "last_used": f"{datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M:%S}",
                }
            ],
        },
    )


def test_the_most_used_server_comes_first(panel: Panel) -> None:
    for number, size in enumerate([2 * GB, 3 * GB, GB], 1):
        body = report(user_token="traveller", server=f"s{number}.vpn.com", bytes_downloaded=size)
        assert_exact(post(panel, "traffic-webhook", body), RECORDED)
    servers = get(panel, "traffic-stats/traveller").json()["servers"]
    assert [server["server"] for server in servers] == ["s2.vpn.com", "s1.vpn.com", "s3.vpn.com"]


@pytest.mark.parametrize("token", ["nobody", "half a tok", "имя", "a/b"])
def test_an_unknown_or_ill_formed_token_has_zeros(panel: Panel, token: str) -> None:
    expected = {"user_token": token, "total_gb_used": 0.0, "period_days": 30, "servers": []}
    assert_exact(get(panel, f"traffic-stats/{token}?days=30"), expected)


def test_global_statistics(empty_panel: Panel) -> None:
    send_the_guides_usage(empty_panel, "reader")
    post(
        empty_panel,
        "traffic-webhook",
        report(user_token="other", server="fast.vpn.com", bytes_downloaded=45 * GB),
    )
    assert_exact(
        get(empty_panel, "traffic-stats/global?days=30"),
        {
            "total_users": 2,
            "total_servers": 2,
            "total_gb_used": 47.457,
            "total_connections": 16,
            "total_protocols": 1,
            "period_days": 30,
            "top_servers": [
                {"server": "fast.vpn.com", "port": 443, "protocol": "vless", "total_gb": 45.001},
                {"server": "vpn.example.com", "port": 443, "protocol": "vless", "total_gb": 2.456},
            ],
            "servers": [],
        },
    )


def test_two_protocols_on_one_port_are_one_server_and_ten_servers_are_the_top(
    empty_panel: Panel,
) -> None:
    servers = [
        report(server=f"s{number}.vpn.com", bytes_downloaded=number * GB) for number in range(1, 12)
    ]
    post(
        empty_panel,
        "traffic-webhook",
        {"reports": [*servers, report(server="s1.vpn.com", protocol="trojan")]},
    )
    found = get(empty_panel, "traffic-stats/global").json()
    assert (found["total_servers"], found["total_protocols"]) == (11, 2)
    assert [server["server"] for server in found["top_servers"]] == [
        f"s{number}.vpn.com" for number in range(11, 1, -1)
    ]


def test_statistics_for_marzban(empty_panel: Panel) -> None:
    send_the_guides_usage(empty_panel, "reader")
    assert_exact(
        get(empty_panel, "marzban-traffic-stats?days=30"),
        {
            "users_traffic": {
                "total_users": 1,
                "total_servers": 1,
                "total_gb_used": 2.456,
                "total_connections": 15,
                "total_protocols": 1,
                "period_days": 30,
                "external_servers": True,
                "integration_type": "xpert_panel",
                "data_source": "traffic_monitoring_system",
            }
        },
    )


@pytest.mark.parametrize(
    ("path", "title"), [("sub", "Xpert Panel"), ("direct-configs/sub", "Xpert Direct")]
)
def test_a_subscription_has_the_guides_headers_and_a_link_a_line(
    panel: Panel, path: str, title: str
) -> None:
    post(panel, "direct-configs", {"configs": LINKS})  # the second time they are there already
    token = title.replace(" ", "-")
    usage = report(user_token=token, bytes_uploaded=64_000_000, bytes_downloaded=128_000_000)
    assert_exact(post(panel, "traffic-webhook", usage), RECORDED)

    found = get(panel, f"{path}?user_token={token}")
    assert found.status_code == 200
    expected = {
        "Content-Type": "text/plain; charset=utf-8",
        "Profile-Update-Interval": "1",
        "Subscription-Userinfo": "upload=64000000; download=128000000; total=192000000; expire=0",
        "Profile-Title": title,
        "Traffic-Webhook": f"{panel.url}/traffic-webhook",
        "User-Token": token,
    }
    assert {name: found.headers[name] for name in expected} == expected
    assert found.text.splitlines() == LINKS


def test_cleanup_by_url_deletes_older_records(empty_panel: Panel) -> None:
    send_old_and_new(empty_panel)
    assert_exact(post(empty_panel, "traffic-stats/cleanup?days=90"), cleaned(0, 90))
    assert_exact(post(empty_panel, "traffic-stats/cleanup?days=20"), cleaned(2, 20))
    assert_exact(post(empty_panel, "traffic-stats/cleanup?days=20"), cleaned(0, 20))


def test_cleanup_from_cron_does_the_same_and_a_dry_run_only_says_so(empty_panel: Panel) -> None:
    send_old_and_new(empty_panel)
    dry = ["cleanup_traffic", "--days", "20", "--dry-run"]
    assert empty_panel.manage(*dry) == "Would delete 2 records older than 20 days.\n"
    assert empty_panel.manage("cleanup_traffic").startswith(
        "Deleted 0 records (retention is off), "
    )
    assert get(empty_panel, "traffic-stats/database/info").json()["total_records"] == 3
    assert empty_panel.manage("cleanup_traffic", "--days", "20").startswith(
        "Deleted 2 records older than 20 days, "
    )
    assert empty_panel.manage(*dry) == "Would delete 0 records older than 20 days.\n"


def send_old_and_new(panel: Panel) -> None:
    now = int(time.time())
    ages = [25 * DAY, 22 * DAY, 0]
    reports = [report(user_token="old", timestamp=now - age) for age in ages]
    assert post(panel, "traffic-webhook", {"reports": reports}).json()["recorded"] == len(ages)


def cleaned(rows: int, days: int) -> dict[str, Any]:
    return {"status": "success", "deleted_rows": rows, "cleanup_days": days}


def test_database_info(empty_panel: Panel) -> None:
    for token, server in (("ann", "s1.vpn.com"), ("ann", "s2.vpn.com"), ("bob", "s1.vpn.com")):
        post(empty_panel, "traffic-webhook", report(user_token=token, server=server))
    found = get(empty_panel, "traffic-stats/database/info")
    size, path = found.json()["database_size_mb"], found.json()["database_path"]
    assert isinstance(size, float)
    assert size > 0
    if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
        assert path == empty_panel.environment["XPERT_TRAFFIC_DB_PATH"]
    else:
        host, _, name = empty_panel.environment["DATABASE_URL"].rpartition("@")[2].partition("/")
        assert path == f"{host.partition(':')[0] or 'localhost'}/{name}"
    counted = {"total_records": 3, "unique_users": 2, "unique_servers": 2}
    assert_exact(
        found, {"database_path": path} | counted | {"database_size_mb": size, "retention_days": 0}
    )
