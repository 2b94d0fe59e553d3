"""Marzban's admins and their bearer tokens: what the Marzban UI sends with every request."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from django.test import Client
from model_bakery import baker
from pytest_django import Settings

from integrations.marzban import admin_tokens, panel_client
from integrations.marzban.models import PanelLink
from operations.api.authentication import create_api_key
from operations.models import AuditEntry
from subscriptions.models import Source
from tests.integrations.marzban.panel import Panel, Reply, admin_token, as_json, running_panel
from tests.ports import free_port
from tests.traffic.examples import STATISTICS, WEBHOOK, wire
from traffic.models import Subscriber, Usage

pytestmark = pytest.mark.django_db

MARZBAN = "/api/xpert/marzban-traffic-stats"
CLEANUP = f"{STATISTICS}/cleanup"
OF_ALL = [
    MARZBAN,
    f"{STATISTICS}/global",
    f"{STATISTICS}/global/series",
    f"{STATISTICS}/database/info",
    f"{STATISTICS}/server/vpn.example.com/443",
    "/metrics",
]
DIRECT = "/api/xpert/direct-configs"
SOURCES = "/api/xpert/sources"
JSON = "application/json"


@pytest.fixture
def panel(settings: Settings) -> Iterator[Panel]:
    admin_tokens.forget_all()
    with running_panel() as found:
        settings.XPERT_MARZBAN_URL = found.url
        yield found
    admin_tokens.forget_all()


@pytest.fixture
def sudo(panel: Panel) -> Client:
    return with_bearer(panel.knows(admin_token("ann"), "ann", is_sudo=True))


@pytest.fixture
def reseller(panel: Panel) -> Client:
    return with_bearer(panel.knows(admin_token("bob", "admin"), "bob", is_sudo=False))


def reported(by: Client) -> None:
    """A known person has used a server."""
    Subscriber.objects.create(token="user123")
    assert by.post(WEBHOOK, wire(), content_type=JSON).status_code == 200


def with_bearer(token: str) -> Client:
    return Client(headers={"authorization": f"Bearer {token}"})


# --- who gets in -----------------------------------------------------------------


@pytest.mark.parametrize("url", OF_ALL)
def test_a_sudo_admin_sees_the_figures_of_all_people(sudo: Client, url: str) -> None:
    assert sudo.get(url).status_code == 200


def test_every_request_of_the_traffic_page_is_answered_as_the_page_reads_it(sudo: Client) -> None:
    reported(sudo)
    totals = sudo.get(MARZBAN).json()["users_traffic"]
    assert totals["external_servers"] is True
    assert isinstance(totals["total_gb_used"], int | float)
    info = sudo.get(f"{STATISTICS}/database/info").json()
    assert info["total_records"] == info["unique_users"] == info["unique_servers"] == 1
    for typed, servers in (("u", 0), ("user12", 0), ("user123", 1)):
        found = sudo.get(f"{STATISTICS}/{typed}?days=30").json()["servers"]
        assert len(found) == servers
    kept = sudo.post(CLEANUP, {"days": 90}, content_type=JSON)
    assert kept.json()["deleted_rows"] == 0
    everything = sudo.post(CLEANUP, {"days": 0}, content_type=JSON)
    assert everything.json()["deleted_rows"] == 1
    assert not Usage.objects.exists()


@pytest.mark.parametrize("url", OF_ALL)
def test_another_admin_is_refused_the_figures_of_all_people(reseller: Client, url: str) -> None:
    refused = reseller.get(url)
    assert refused.status_code == 403
    assert refused.json() == {"detail": "This needs a sudo admin of Marzban; bob is not one."}


def test_another_admin_cannot_clean_up_add_or_report(reseller: Client, reporter: Client) -> None:
    reported(reporter)
    for url, body in (
        (CLEANUP, {"days": 0}),
        (DIRECT, {"raw": "vless://x"}),
        (WEBHOOK, wire()),
    ):
        assert reseller.post(url, body, content_type=JSON).status_code == 403
    assert Usage.objects.count() == 1


def test_another_admin_may_look_at_a_person_whose_token_they_know(
    reseller: Client, reporter: Client
) -> None:
    reported(reporter)
    assert len(reseller.get(f"{STATISTICS}/user123").json()["servers"]) == 1


def test_a_sudo_admin_may_report_for_a_known_person_where_reports_need_a_key(
    sudo: Client, settings: Settings
) -> None:
    settings.XPERT_REPORTS_NEED_KEY = True
    reported(sudo)
    assert sudo.post(WEBHOOK, wire(user_token="x"), content_type=JSON).status_code == 403


def test_a_sudo_admin_sees_whole_urls_of_sources(sudo: Client) -> None:
    baker.make(Source, url="https://provider.example/secret-path", enabled=True)
    assert "secret-path" in sudo.get(SOURCES).content.decode()


def test_what_a_sudo_admin_changes_stands_in_the_audit_trail_under_their_name(
    sudo: Client,
) -> None:
    raw = "vless://00000000-0000-4000-8000-000000000000@vpn.example.com:443?security=tls#a"
    assert sudo.post(DIRECT, {"raw": raw}, content_type=JSON).status_code == 201
    assert AuditEntry.objects.latest("pk").author == "Marzban admin ann"


def test_what_a_token_says_of_itself_is_not_believed(panel: Panel) -> None:
    boaster = panel.knows(admin_token("eve", "sudo", is_sudo=True), "eve", is_sudo=False)
    assert with_bearer(boaster).get(MARZBAN).status_code == 403
    modest = panel.knows(admin_token("ann", "admin"), "ann", is_sudo=True)
    assert with_bearer(modest).get(MARZBAN).status_code == 200


def test_a_token_that_marzban_refuses_gets_nobody_in(panel: Panel) -> None:
    refused = with_bearer(admin_token("eve")).get(MARZBAN)
    assert refused.status_code == 401
    assert refused.json()["detail"].startswith("Marzban does not accept this token")
    assert panel.paths == ["/api/admin"]


def test_a_refused_token_counts_double_for_the_limit_by_address(
    panel: Panel, settings: Settings
) -> None:
    settings.XPERT_RATE_ADDRESS = "4/hour"
    eve = with_bearer(admin_token("eve"))
    assert [eve.get(MARZBAN).status_code for _ in range(3)] == [401, 401, 429]


# --- which panel is asked, and of what ----------------------------------------------


def test_without_a_panel_nobody_is_asked(panel: Panel, sudo: Client, settings: Settings) -> None:
    settings.XPERT_MARZBAN_URL = ""
    baker.make(PanelLink, url=panel.url, number=1, signs_in=False)
    assert sudo.get(MARZBAN).status_code == 401
    assert panel.asked == []


def test_the_link_whose_admins_sign_in_is_asked(
    panel: Panel, sudo: Client, settings: Settings
) -> None:
    settings.XPERT_MARZBAN_URL = ""
    baker.make(PanelLink, url="http://127.0.0.1:1", number=1, signs_in=False)
    baker.make(PanelLink, url=panel.url, number=2, signs_in=True)
    assert sudo.get(MARZBAN).status_code == 200


def test_the_setting_wins_over_the_link(panel: Panel, sudo: Client) -> None:
    baker.make(PanelLink, url="http://127.0.0.1:1", number=1, signs_in=True)
    assert sudo.get(MARZBAN).status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        "no-jwt",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "eyJhbGciOiJIUzI1NiJ9.e30.",
        "W10.e30.x",
        "bnVsbA.e30.x",
        "e30.e30.x",
        "eyJhbGciOiJIUzI1NiJ9.e30.x y",
        "eyJhbGciOiJIUzI1NiJ9.é.x",
        "W1tb" * 1000 + ".e30.x",
        "eyJhbGciOiJIUzI1NiJ9.e30." + "x" * 4096,
    ],
)
def test_what_has_no_jwt_s_shape_is_never_sent_to_marzban(panel: Panel, token: str) -> None:
    assert with_bearer(token).get(MARZBAN).status_code == 401
    assert panel.asked == []


@pytest.mark.parametrize("scope", ["read", "manage"])
def test_an_api_key_is_never_sent_to_marzban(panel: Panel, scope: str) -> None:
    assert with_bearer(create_api_key("key", scope)[1]).get(MARZBAN).status_code == 200
    assert panel.asked == []


def test_an_admin_s_token_is_no_api_key(panel: Panel, sudo: Client) -> None:
    token = next(iter(panel.replies))
    assert Client(headers={"x-api-key": token}).get(MARZBAN).status_code == 401
    assert panel.asked == []


def test_nobody_signed_in_to_marzban_is_not_asked_about(panel: Panel) -> None:
    assert with_bearer("null").get(MARZBAN).status_code == 401
    assert panel.asked == []


# --- Marzban gives no answer, or a wrong one -----------------------------------------


def is_unavailable(response: Any) -> bool:
    if response.status_code == 503:
        assert int(response["Retry-After"]) > 0
        assert list(response.json()) == ["detail"]
    return bool(response.status_code == 503)


WRONG = {
    "an error": as_json(500, {"detail": "Internal Server Error"}),
    "forbidden": as_json(403, {"detail": "blocked"}),
    "not found": as_json(404, {"detail": "Not Found"}),
    "a redirect": Reply(307, b"", (("Location", "http://127.0.0.1:1/"),)),
    "a page": Reply(200, b"<html>Marzban</html>", (("Content-Type", "text/html"),)),
    "nothing": Reply(200, b""),
    "a list": as_json(200, []),
    "no name": as_json(200, {"is_sudo": True}),
    "no right": as_json(200, {"username": "ann"}),
    "a right in quotes": as_json(200, {"username": "ann", "is_sudo": "true"}),
    "a right as a number": as_json(200, {"username": "ann", "is_sudo": 1}),
    "no UTF-8": Reply(200, b'{"username": "\xff", "is_sudo": true}'),
    "depth": Reply(200, b'{"username": "ann", "is_sudo": true, "x": ' + b"[" * 60_000),
    "too much": Reply(200, b'{"username": "ann", "is_sudo": true}' + b" " * 2**16),
    "a body cut off": Reply(
        200, b'{"username": "ann", "is_sudo": true}', (("Content-Length", "99"),)
    ),
    "a wrong header": Reply(200, b"", (("Content-Length", "x"),)),
}


@pytest.mark.parametrize("reply", WRONG.values(), ids=WRONG.keys())
def test_an_answer_that_says_nothing_opens_nothing(
    panel: Panel, sudo: Client, reply: Reply
) -> None:
    panel.reply = reply
    assert is_unavailable(sudo.get(MARZBAN))
    panel.reply = None
    assert sudo.get(MARZBAN).status_code == 200  # and it was not remembered


@pytest.mark.parametrize("url", OF_ALL)
def test_while_marzban_is_down_nobody_gets_in_with_its_token(
    panel: Panel, sudo: Client, settings: Settings, url: str
) -> None:
    settings.XPERT_OPEN_ACCESS = True
    settings.XPERT_MARZBAN_URL = f"http://127.0.0.1:{free_port()}"
    assert is_unavailable(sudo.get(url, headers={"host": "127.0.0.1"}))


def test_while_marzban_is_down_api_keys_still_work(
    panel: Panel, reader: Client, settings: Settings
) -> None:
    settings.XPERT_MARZBAN_URL = f"http://127.0.0.1:{free_port()}"
    assert reader.get(MARZBAN).status_code == 200


def test_a_panel_that_does_not_answer_in_time_opens_nothing(
    panel: Panel, sudo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_client, "get", _impatient)
    panel.gate.clear()
    assert is_unavailable(sudo.get(MARZBAN))


def _impatient(url: str, headers: Any, *, get: Any = panel_client.get) -> panel_client.Answer:
    limits = msgspec.structs.replace(panel_client.LIMITS, total=0.2)
    found: panel_client.Answer = get(url, headers, limits)
    return found


def test_a_server_that_does_not_speak_tls_opens_nothing(
    panel: Panel, sudo: Client, settings: Settings
) -> None:
    settings.XPERT_MARZBAN_URL = panel.url.replace("http://", "https://")
    assert is_unavailable(sudo.get(MARZBAN))
    assert panel.asked == []


def test_a_name_that_leads_nowhere_opens_nothing(
    sudo: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    settings.XPERT_MARZBAN_URL = "http://marzban.example.com"
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert is_unavailable(sudo.get(MARZBAN))


def test_no_token_stands_in_the_log(
    panel: Panel, sudo: Client, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    panel.reply = WRONG["an error"]
    sudo.get(MARZBAN)
    panel.reply = None
    sudo.get(MARZBAN)
    with_bearer(admin_token("eve")).get(MARZBAN)
    lines = caplog.text + "".join(capsys.readouterr())
    assert "could not check a token: http_500" in lines
    for token in panel.asked:
        assert not [part for part in token.split(".")[1:] if part in lines]


def test_the_answer_of_a_refusal_quotes_no_token(panel: Panel) -> None:
    token = admin_token("eve")
    said = json.dumps(with_bearer(token).get(MARZBAN).json())
    assert token[:20] not in said


# --- how long an answer is believed ------------------------------------------------


def test_an_answer_is_remembered(panel: Panel, sudo: Client, reseller: Client) -> None:
    stranger = with_bearer(admin_token("eve", iat=1))
    for _ in range(2):
        assert sudo.get(MARZBAN).status_code == 200
        assert reseller.get(MARZBAN).status_code == 403
        assert stranger.get(MARZBAN).status_code == 401
    assert len(panel.asked) == 3


def test_an_answer_about_one_panel_is_not_believed_for_another(
    panel: Panel, sudo: Client, settings: Settings
) -> None:
    assert sudo.get(MARZBAN).status_code == 200
    with running_panel() as other:
        settings.XPERT_MARZBAN_URL = other.url
        assert sudo.get(MARZBAN).status_code == 401


@pytest.mark.parametrize("left", [-5, 0])
def test_an_answer_is_not_remembered_beyond_the_token_s_own_end(panel: Panel, left: int) -> None:
    """Marzban's clock decides, so it is asked each time."""
    token = panel.knows(admin_token("ann", exp=int(time.time()) + left), "ann", is_sudo=True)
    for _ in range(2):
        assert with_bearer(token).get(MARZBAN).status_code == 200
    assert len(panel.asked) == 2


@pytest.mark.parametrize("end", [10**400, -(10**400), "soon", None, True, [], 1e300])
def test_an_end_of_any_form_breaks_nothing(panel: Panel, end: object) -> None:
    token = panel.knows(admin_token("ann", exp=end), "ann", is_sudo=True)
    assert with_bearer(token).get(MARZBAN).status_code == 200


# --- PasarGuard ------------------------------------------------------------------

PG_KEY = "pg_key_3f2b8c1e-7a4d-4e21-9c55-0b6f5a1d2e3f"
# As PasarGuard 5 gives them to its roles.
ADMINISTRATOR = {
    "users": {"create": True, "read": {"scope": 2}, "update": {"scope": 2}, "delete": {"scope": 2}},
    "admins": {"create": True, "read": True, "update": True},
    "settings": {"read": True, "update": True},
}
OPERATOR = {
    "users": {"create": True, "read": {"scope": 1}, "update": {"scope": 1}, "delete": {"scope": 1}},
    "settings": {"read": False, "update": False},
    "groups": None,
}


def with_role(**role: Any) -> Reply:
    return as_json(200, {"id": 1, "username": "pg", "status": "active", "role": role})


@pytest.mark.parametrize("token", [PG_KEY, admin_token("pg")])
@pytest.mark.parametrize(
    ("role", "status"),
    [
        ({"is_owner": True}, 200),
        ({"is_owner": False, "permissions": ADMINISTRATOR}, 200),
        ({"permissions": OPERATOR}, 403),
        ({"permissions": ADMINISTRATOR | {"settings": None}}, 403),
        ({"permissions": ADMINISTRATOR | {"admins": {"update": False}}}, 403),
        ({"permissions": ADMINISTRATOR | {"users": {"delete": True}}}, 403),
        ({}, 403),
    ],
)
def test_pasarguard_s_owners_and_administrators_are_what_sudo_admins_were(
    panel: Panel, token: str, role: dict[str, Any], status: int
) -> None:
    panel.replies[token] = with_role(**role)
    assert with_bearer(token).get(OF_ALL[0]).status_code == status


@pytest.mark.parametrize(("status", "expected"), [(401, 401), (403, 503)])
def test_a_key_that_pasarguard_refuses_gets_nobody_in(
    panel: Panel, status: int, expected: int
) -> None:
    panel.replies[PG_KEY] = as_json(status, {"detail": "no"})
    assert with_bearer(PG_KEY).get(OF_ALL[0]).status_code == expected


@pytest.mark.parametrize("token", ["pg_key_", "pg_key_x", PG_KEY + "0", PG_KEY.upper()])
def test_what_has_no_shape_of_its_keys_is_not_asked_about(panel: Panel, token: str) -> None:
    assert with_bearer(token).get(OF_ALL[0]).status_code == 401
    assert panel.asked == []


def test_an_admin_without_a_role_or_a_word_about_sudo_opens_nothing(
    panel: Panel,
) -> None:
    panel.replies[PG_KEY] = as_json(200, {"username": "pg", "role": None})
    assert with_bearer(PG_KEY).get(OF_ALL[0]).status_code == 503
