"""Permissions of callers, as docs/api.md describes them."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from model_bakery import baker
from pytest_django import Settings

from operations.api.authentication import create_api_key
from operations.models import ApiKey
from tests.traffic.examples import STATISTICS, WEBHOOK, a_report, stored, wire
from traffic.models import Usage

pytestmark = pytest.mark.django_db

READING = {
    "global": f"{STATISTICS}/global",
    "global series": f"{STATISTICS}/global/series",
    "server": f"{STATISTICS}/server/vpn.example.com/443",
    "database info": f"{STATISTICS}/database/info",
    "marzban": "/api/xpert/marzban-traffic-stats",
    "metrics": "/metrics",
}
CLEANUP = f"{STATISTICS}/cleanup"
PUBLIC = (f"{STATISTICS}/user123", f"{STATISTICS}/user123/series", "/healthz")
JSON = "application/json"
LOCAL = {"host": "127.0.0.1:8000"}

reading = pytest.mark.parametrize("url", READING.values(), ids=READING.keys())


def get(url: str, *, peer: str = "127.0.0.1", **headers: str) -> Any:
    """``headers``: ``_`` in a name stands for ``-``."""
    named = LOCAL | {name.replace("_", "-"): value for name, value in headers.items()}
    return Client().get(url, headers=named, REMOTE_ADDR=peer)


def is_refused(response: Any) -> bool:
    refused: bool = response.status_code == 401
    if refused:
        assert response["WWW-Authenticate"] == "Bearer"
        assert list(response.json()) == ["detail"]
    return refused


# --- open access -------------------------------------------------------------


@reading
@pytest.mark.usefixtures("open_access")
def test_open_access_answers_this_machine_without_a_key(url: str) -> None:
    for path in (url, f"{url}/"):
        assert get(path).status_code == 200


@pytest.mark.usefixtures("open_access")
def test_open_access_lets_this_machine_clean_up() -> None:
    assert Client(headers=LOCAL).post(f"{CLEANUP}?days=90", content_type=JSON).status_code == 200
    assert is_refused(Client().post(f"{CLEANUP}?days=90", content_type=JSON))


@reading
def test_closed_access_answers_nobody_without_a_key(url: str) -> None:
    assert is_refused(get(url))


def test_closed_access_lets_nobody_clean_up_without_a_key() -> None:
    stored(a_report())
    assert is_refused(Client(headers=LOCAL).post(f"{CLEANUP}?days=0", content_type=JSON))
    assert Usage.objects.exists()


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize(
    "domain",
    [
        "",
        "localhost",
        "https://localhost:8443",
        "127.0.0.1",
        "http://[::1]:8000",
        "your-domain.com",
        "https://your-domain.com",
    ],
)
def test_open_access_holds_without_a_public_domain(settings: Settings, domain: str) -> None:
    settings.XPERT_DOMAIN = domain
    assert get(READING["global"]).status_code == 200


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize(
    "domain",
    ["panel.example.com", "https://panel.example.com", "192.0.2.1", "localhost.example.com"],
)
def test_a_public_domain_ends_open_access(settings: Settings, domain: str) -> None:
    settings.XPERT_DOMAIN = domain
    assert is_refused(get(READING["global"]))


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_a_peer_on_the_loopback_interface_is_this_machine(peer: str) -> None:
    assert get(READING["global"], peer=peer).status_code == 200


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize(
    "peer",
    ["192.168.0.5", "10.0.0.1", "203.0.113.9", "2001:db8::1", "::ffff:10.0.0.1", "", "localhost"],
)
def test_any_other_peer_is_not(peer: str) -> None:
    assert is_refused(get(READING["global"], peer=peer))


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost", "LocalHost:8000", "[::1]", "[::1]:8000"]
)
def test_a_host_of_the_loopback_interface_is_this_machine(host: str) -> None:
    assert get(READING["global"], host=host).status_code == 200


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize(
    "host",
    [
        "testserver",
        "panel.local",
        "127.0.0.1.nip.io",
        "localhost.evil.example",
        "192.0.2.1",
        "localhost@evil",
    ],
)
def test_any_other_host_is_not(settings: Settings, host: str) -> None:
    # A page of another site whose name resolves to 127.0.0.1 sends its own name (DNS rebinding).
    settings.ALLOWED_HOSTS = ["*"]
    response = get(READING["global"], host=host)
    assert response.status_code == 400 if "@" in host else is_refused(response)


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize(
    "header",
    [
        "forwarded",
        "via",
        "x_forwarded_for",
        "x_forwarded_host",
        "x_forwarded_proto",
        "x_forwarded_port",
        "x_forwarded_anything",
        "x_real_ip",
    ],
)
@pytest.mark.parametrize("proxies", [0, 1])
def test_a_request_through_a_proxy_is_not_local(
    settings: Settings, header: str, proxies: int
) -> None:
    settings.XPERT_TRUSTED_PROXIES = proxies
    for value in ("127.0.0.1", ""):
        assert is_refused(get(READING["global"], **{header: value}))


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize(
    ("headers", "is_own"),
    [
        ({"origin": "http://127.0.0.1:8000"}, True),
        ({"origin": "http://127.0.0.1:8000", "sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"origin": "https://127.0.0.1:8000"}, False),
        ({"origin": "http://127.0.0.1:9000"}, False),
        ({"origin": "http://127.0.0.1"}, False),
        ({"origin": "http://localhost:8000"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": ""}, False),
        ({"origin": "http://127.0.0.1:8000", "sec_fetch_site": "cross-site"}, False),
    ],
)
def test_a_page_of_another_site_is_not_the_operator(headers: dict[str, str], is_own: bool) -> None:
    response = get(READING["global"], **headers)
    assert response.status_code == 200 if is_own else is_refused(response)


@pytest.mark.usefixtures("open_access")
def test_a_wrong_key_is_wrong_in_open_access_too() -> None:
    assert is_refused(get(READING["global"], authorization="Bearer wrong"))


# The Marzban UI sends these when nobody is signed in.
without_a_key = pytest.mark.parametrize(
    "sent", ["Bearer null", "Bearer undefined", "Bearer ", "Bearer", "bearer  null "]
)


@without_a_key
@pytest.mark.usefixtures("open_access")
def test_a_bearer_that_names_no_key_is_none_at_all(sent: str) -> None:
    assert get(READING["global"], authorization=sent).status_code == 200


@without_a_key
def test_a_bearer_that_names_no_key_opens_nothing(sent: str) -> None:
    assert is_refused(get(READING["global"], authorization=sent))


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize(
    "sent", ["Bearer Null", "Bearer null null", "Bearer nullx", "Bearer undefined.", 'Bearer ""']
)
def test_a_text_that_only_resembles_an_absent_key_is_a_wrong_key(sent: str) -> None:
    assert is_refused(get(READING["global"], authorization=sent))


@pytest.mark.usefixtures("open_access")
@pytest.mark.parametrize("sent", ["", "null", "undefined"])
def test_a_header_of_its_own_always_names_a_key(sent: str) -> None:
    assert is_refused(get(READING["global"], x_api_key=sent))


# --- keys --------------------------------------------------------------------


@reading
def test_read_and_manage_may_read_and_report_may_not(
    url: str, reader: Client, manager: Client, reporter: Client
) -> None:
    assert reader.get(url).status_code == 200
    assert manager.get(url).status_code == 200
    assert reporter.get(url).status_code == 403


def test_only_manage_may_clean_up(reader: Client, manager: Client, reporter: Client) -> None:
    stored(a_report())
    assert reader.post(f"{CLEANUP}?days=0", content_type=JSON).status_code == 403
    assert reporter.post(f"{CLEANUP}?days=0", content_type=JSON).status_code == 403
    assert Usage.objects.exists()
    assert manager.post(f"{CLEANUP}?days=0", content_type=JSON).json()["deleted_rows"] == 1


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}  "])
def test_a_key_is_sent_as_bearer_or_in_a_header_of_its_own(form: str) -> None:
    _, key = create_api_key("panel", "read")
    assert get(READING["global"], authorization=form.format(key)).status_code == 200
    assert get(READING["global"], x_api_key=f" {key} ").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer"}, {"authorization": "Bearer "}, {"x_api_key": ""},
        {"x_api_key": "wrong"}, {"authorization": "Basic dXNlcjpwYXNz"}, {"authorization": "Token {key}"}, {"authorization": "{key}"},
        {"authorization": "Bearer {key}x"}, {"authorization": "Bearer {KEY}"}, {"x_api_key": "ключ"}, {"authorization": "Bearer \udcff"},
        {"authorization": "Bearer " + "x" * 8000}, {"x_api_key": "wrong", "authorization": "Bearer {key}"},
    ],
)  # fmt: skip
def test_anything_else_is_401(headers: dict[str, str]) -> None:
    _, key = create_api_key("panel", "read")
    sent = {
        name: value.replace("{key}", key).replace("{KEY}", key.swapcase())
        for name, value in headers.items()
    }
    assert is_refused(get(READING["global"], **sent))


def test_a_key_may_expire() -> None:
    now = timezone.now()
    _, key = create_api_key("panel", "read", now + timedelta(hours=1))
    with time_machine.travel(now + timedelta(minutes=59), tick=False):
        assert get(READING["global"], x_api_key=key).status_code == 200
    with time_machine.travel(now + timedelta(hours=1), tick=False):
        assert is_refused(get(READING["global"], x_api_key=key))


def test_a_key_can_be_revoked() -> None:
    made, key = create_api_key("panel", "read")
    ApiKey.objects.filter(pk=made.pk).update(revoked_at=timezone.now())
    assert is_refused(get(READING["global"], x_api_key=key))


def test_a_key_in_the_query_is_no_key() -> None:
    _, key = create_api_key("panel", "manage")
    assert is_refused(
        get(f"{READING['global']}?api_key={key}&token={key}&authorization=Bearer%20{key}")
    )


# --- what a refusal says -----------------------------------------------------


@pytest.mark.parametrize(("url", "scope"), [(READING["global"], "read"), ("/metrics", "read")])
def test_a_missing_key_is_told_how_to_get_one(url: str, scope: str) -> None:
    detail = get(url).json()["detail"]
    assert detail.startswith("Authentication credentials were not provided: send an API key")
    assert f"manage.py create_api_key NAME --scope {scope} makes one, or sign in" in detail


def test_a_missing_key_is_told_the_scope_of_what_was_asked() -> None:
    response = Client(headers=LOCAL).post(f"{CLEANUP}?days=0", content_type=JSON)
    assert response.status_code == 401
    assert "--scope manage makes one" in response.json()["detail"]


def test_a_wrong_key_is_told_how_to_get_another() -> None:
    detail = get(READING["global"], x_api_key="wrong").json()["detail"]
    assert detail.startswith("This API key is unknown, expired or revoked.")
    assert "manage.py create_api_key NAME --scope" in detail


def test_a_key_of_another_scope_is_told_which_would_do(reporter: Client, reader: Client) -> None:
    found = reporter.get(READING["global"])
    assert (found.status_code, found.json()) == (
        403,
        {"detail": "This needs an API key of scope read or manage; yours has report."},
    )
    found = reader.post(f"{CLEANUP}?days=0", content_type=JSON)
    assert found.json()["detail"] == "This needs an API key of scope manage; yours has read."
    found = reader.post(WEBHOOK, wire(), content_type=JSON)
    assert (
        found.json()["detail"] == "This needs an API key of scope report or manage; yours has read."
    )


def test_staff_is_told_the_permission_that_is_missing() -> None:
    found = signed_in("view_usage").post(f"{CLEANUP}?days=0", content_type=JSON)
    assert found.json()["detail"] == (
        "Your account lacks the permission traffic.delete_usage; a superuser can grant it."
    )


# --- staff -------------------------------------------------------------------

PERMISSIONS = {
    "global": "view_usage",
    "global series": "view_usage",
    "server": "view_server",
    "database info": "view_usage",
    "marzban": "view_usage",
    "metrics": "view_commandrun",
}


def signed_in(
    *permissions: str, is_staff: bool = True, enforce_csrf_checks: bool = False, **more: Any
) -> Client:
    user = baker.make(User, is_staff=is_staff, **more)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(enforce_csrf_checks=enforce_csrf_checks)
    client.force_login(user)
    return client


@pytest.mark.parametrize("name", READING)
def test_staff_reads_with_the_model_s_permission_and_with_no_other(name: str) -> None:
    url, needed = READING[name], PERMISSIONS[name]
    assert signed_in(needed).get(url).status_code == 200
    others = set(Permission.objects.values_list("codename", flat=True)) - {needed}
    assert signed_in(*others).get(url).status_code == 403
    assert signed_in(is_superuser=True).get(url).status_code == 200


def test_staff_cleans_up_with_the_permission_to_delete() -> None:
    assert (
        signed_in("view_usage", "change_usage")
        .post(f"{CLEANUP}?days=90", content_type=JSON)
        .status_code
        == 403
    )
    assert (
        signed_in("delete_usage").post(f"{CLEANUP}?days=90", content_type=JSON).status_code == 200
    )


@reading
@pytest.mark.parametrize("lack", [{"is_staff": False}, {"is_active": False}])
def test_users_who_are_not_active_staff_are_not_authenticated(
    url: str, lack: dict[str, Any]
) -> None:
    assert is_refused(signed_in(**lack, is_superuser=True).get(url))


def test_a_staff_session_needs_the_csrf_token() -> None:
    client = signed_in("delete_usage", enforce_csrf_checks=True)
    response = client.post(f"{CLEANUP}?days=90", content_type=JSON)
    assert (response.status_code, list(response.json())) == (403, ["detail"])
    client.cookies["csrftoken"] = token = "x" * 32
    assert (
        client.post(
            f"{CLEANUP}?days=90", content_type=JSON, headers={"x-csrftoken": token}
        ).status_code
        == 200
    )
    assert (
        client.post(
            f"{CLEANUP}?days=90", content_type=JSON, headers={"x-csrftoken": "y" * 32}
        ).status_code
        == 403
    )


def test_a_key_needs_no_csrf_token() -> None:
    _, key = create_api_key("panel", "manage")
    client = Client(enforce_csrf_checks=True, headers={"x-api-key": key})
    assert client.post(f"{CLEANUP}?days=90", content_type=JSON).status_code == 200


def test_reports_need_no_csrf_token_even_in_a_browser_that_is_signed_in() -> None:
    stored(a_report())
    client = signed_in(is_superuser=True, enforce_csrf_checks=True)
    assert client.post(WEBHOOK, wire(), content_type="application/json").status_code == 200


@pytest.mark.usefixtures("open_access")
def test_staff_without_the_permission_is_refused_in_open_access_too() -> None:
    assert signed_in().get(READING["global"], headers=LOCAL).status_code == 403


# --- everybody ---------------------------------------------------------------


@pytest.mark.parametrize("url", PUBLIC)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer of-another-panel"},
        {"x_api_key": "wrong"},
        {"origin": "https://evil.example"},
    ],
)
def test_a_user_s_own_figures_need_only_the_token(url: str, headers: dict[str, str]) -> None:
    assert get(url, peer="203.0.113.9", **headers).status_code == 200


def test_a_key_for_operators_unlocks_nothing_more_of_a_user(reporter: Client) -> None:
    assert reporter.get(PUBLIC[0]).status_code == 200


# --- methods -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_read_only_endpoints_accept_no_other_method(
    method: str, reader: Client, manager: Client
) -> None:
    for url in READING.values():
        response = getattr(reader, method)(url)
        assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
        assert getattr(manager, method)(url).status_code == 405
    for url in PUBLIC[:2]:
        assert getattr(Client(), method)(url).status_code == 405


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_cleanup_is_for_posts_alone(method: str, manager: Client, reader: Client) -> None:
    assert getattr(manager, method)(CLEANUP).status_code == 405
    assert getattr(reader, method)(CLEANUP).status_code == 405


@reading
def test_head_answers_as_get_without_a_body(url: str, reader: Client) -> None:
    response = reader.head(url)
    assert (response.status_code, response.content) == (200, b"")


def test_a_key_s_last_use_is_written_down_every_five_minutes() -> None:
    made, key = create_api_key("panel", "read")
    now = timezone.now()

    def used_at(moment: Any) -> Any:
        with time_machine.travel(moment, tick=False):
            get(READING["global"], x_api_key=key)
        return ApiKey.objects.get(pk=made.pk).last_used_at

    assert used_at(now) == now
    assert used_at(now + timedelta(minutes=4, seconds=59)) == now
    assert used_at(now + timedelta(minutes=5)) == now + timedelta(minutes=5)


def test_a_busy_database_that_cannot_note_a_key_s_use_still_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, key = create_api_key("panel", "read")

    def busy(*_: object, **__: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("django.db.models.query.QuerySet.update", busy)
    assert get(READING["global"], x_api_key=key).status_code == 200
    assert ApiKey.objects.get().last_used_at is None
