"""Each condition of open access, for everything that it opens: reports, subscriptions, operator endpoints."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

REPORT = {"user_token": "newcomer", "server": "vpn.example.com", "port": 443, "protocol": "vless"}
Asked = Callable[[Client], Any]


def report(client: Client) -> Any:
    return client.post("/api/xpert/traffic-webhook", REPORT, content_type="application/json")


def batch(client: Client) -> Any:
    return client.post("/api/xpert/traffic-webhook", [REPORT], content_type="application/json")


def subscription(client: Client) -> Any:
    return client.get("/api/xpert/sub?user_token=newcomer")


def direct_subscription(client: Client) -> Any:
    return client.get("/api/xpert/direct-configs/sub?user_token=newcomer")


def statistics(client: Client) -> Any:
    return client.get("/api/xpert/traffic-stats/global")


def cleanup(client: Client) -> Any:
    return client.post("/api/xpert/traffic-stats/cleanup?days=90", content_type="application/json")


def direct_configs(client: Client) -> Any:
    return client.get("/api/xpert/direct-configs")


# The answers of each endpoint without open access.
OPENED: dict[Asked, int] = {
    report: 403,
    batch: 400,
    subscription: 404,
    direct_subscription: 404,
    statistics: 401,
    cleanup: 401,
    direct_configs: 401,
}
MAKING = (report, batch, subscription, direct_subscription)

everything = pytest.mark.parametrize("ask", OPENED, ids=lambda ask: ask.__name__)


@pytest.fixture(autouse=True)
def open_access(settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS = True
    settings.ALLOWED_HOSTS = ["*"]


def caller(peer: str = "127.0.0.1", **headers: str) -> Client:
    """A client on this machine, except for the given values. ``_`` in a header's name stands for ``-``."""
    named = {"host": "127.0.0.1:8000"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Client(headers=named, REMOTE_ADDR=peer)


def assert_open(ask: Asked, client: Client) -> None:
    assert ask(client).status_code == 200
    assert Subscriber.objects.filter(token="newcomer").exists() == (ask in MAKING)


def assert_closed(ask: Asked, client: Client) -> None:
    assert ask(client).status_code == OPENED[ask]
    assert not Subscriber.objects.exists()


@everything
def test_it_holds_for_a_program_on_this_machine(ask: Asked) -> None:
    assert_open(ask, caller())


@everything
def test_it_applies_to_nobody_while_it_is_off(ask: Asked, settings: Settings) -> None:
    settings.XPERT_OPEN_ACCESS = False
    assert_closed(ask, caller())


@everything
@pytest.mark.parametrize(
    "domain", ["localhost", "127.0.0.1:8000", "http://[::1]", "your-domain.com"]
)
def test_it_holds_with_a_domain_that_is_not_public(
    ask: Asked, domain: str, settings: Settings
) -> None:
    settings.XPERT_DOMAIN = domain
    assert_open(ask, caller())


@everything
@pytest.mark.parametrize(
    "domain", ["panel.example.com", "http://192.168.1.5", "your-domain.com.example"]
)
def test_a_public_domain_ends_it(ask: Asked, domain: str, settings: Settings) -> None:
    settings.XPERT_DOMAIN = domain
    assert_closed(ask, caller())


@everything
@pytest.mark.parametrize(
    "peer", ["192.168.1.5", "203.0.113.9", "2001:db8::1", "::ffff:10.0.0.1", ""]
)
def test_a_peer_elsewhere_ends_it_whatever_the_panel_listens_on(
    ask: Asked, peer: str, settings: Settings
) -> None:
    settings.HOST = "0.0.0.0"
    assert_closed(ask, caller(peer))


@everything
@pytest.mark.parametrize("host", ["192.168.1.5:8000", "panel.example.com", "127.0.0.1.example.com"])
def test_a_host_that_is_not_loopback_ends_it(ask: Asked, host: str) -> None:
    assert_closed(ask, caller(host=host))


@everything
def test_a_request_without_a_host_ends_it(ask: Asked) -> None:
    assert_closed(ask, Client())


@everything
@pytest.mark.parametrize(
    "header",
    ["forwarded", "via", "x_forwarded_for", "x_forwarded_proto", "x_forwarded_host", "x_real_ip"],
)
@pytest.mark.parametrize("proxies", [0, 1])
def test_a_header_of_a_proxy_ends_it(
    ask: Asked, header: str, proxies: int, settings: Settings
) -> None:
    settings.XPERT_TRUSTED_PROXIES = proxies
    assert_closed(ask, caller(**{header: "127.0.0.1"}))


@everything
@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_it_holds_for_a_page_of_our_own(ask: Asked, site: str) -> None:
    assert_open(ask, caller(origin="http://127.0.0.1:8000", sec_fetch_site=site))


@everything
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "https://127.0.0.1:8000"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_a_page_of_another_site_ends_it(ask: Asked, headers: dict[str, str]) -> None:
    assert_closed(ask, caller(**headers))


@pytest.mark.parametrize("ask", MAKING, ids=lambda ask: ask.__name__)
def test_from_elsewhere_known_tokens_can_still_report_and_subscribe(ask: Asked) -> None:
    Subscriber.objects.create(token="newcomer")
    assert ask(caller("203.0.113.9", host="panel.example.com")).status_code == 200


@pytest.mark.parametrize("ask", [report, batch], ids=lambda ask: ask.__name__)
def test_a_key_from_elsewhere_creates_no_subscriber(ask: Asked, reporter: Client) -> None:
    reporter.defaults["REMOTE_ADDR"] = "203.0.113.9"
    assert_closed(ask, reporter)
