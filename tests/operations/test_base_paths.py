"""XPERT_BASE_PATH: what it takes, and what it changes in addresses that the panel gives out."""

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import clear_script_prefix, set_script_prefix
from pytest_django import Settings

from integrations.telegram import page
from operations.base_paths import cleaned
from operations.conf import conf
from operations.http.programs import paths_for_programs
from traffic.models import Subscriber
from xpert_panel.base_path import BelowBasePath


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("", ""),
        ("/", ""),
        ("/panel", "/panel"),
        ("/panel/", "/panel"),
        ("panel", "/panel"),
        ("/a.b_c~d-9/e", "/a.b_c~d-9/e"),
        ("/" + "x" * 99, "/" + "x" * 99),
    ],
)
def test_a_path_is_taken_with_and_without_slashes_around_it(value: str, path: str) -> None:
    assert cleaned(value) == path


WRONG = [
    "/pa nel", "/../panel", "/panel/..", "/./panel", "/pan//el", "https://panel.example.com/x", "/панель", "/panel?x",
    "/panel#x", "/%70anel", "/panel;x", "/panel\\x", "/panel\n/x", "/" + "x" * 100,
]  # fmt: skip


@pytest.mark.parametrize("value", WRONG)
def test_anything_else_is_refused_with_a_sentence(settings: Settings, value: str) -> None:
    settings.XPERT_BASE_PATH = value
    with pytest.raises(ImproperlyConfigured, match=re.escape("takes a path like /panel")):
        _ = conf.base_path


def answered(path: str, method: str = "GET") -> tuple[str, bytes, Any]:
    """Status, body, and what the panel itself was asked for."""
    asked: list[dict[str, Any]] = []
    said: list[str] = []

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        asked.append(environ)
        start("200 OK", [])
        return [b"panel"]

    environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "wsgi.input": io.BytesIO()}
    below = BelowBasePath(application, "/panel")
    body = b"".join(below(environ, lambda status, _: said.append(status)))
    return said[0], body, asked[0]["PATH_INFO"] if asked else None


@pytest.mark.parametrize(
    ("path", "rest"), [("/panel", ""), ("/panel/", "/"), ("/panel/api/xpert/sub", "/api/xpert/sub")]
)
def test_below_the_path_the_panel_answers(path: str, rest: str) -> None:
    assert answered(path) == ("200 OK", b"panel", rest)


@pytest.mark.parametrize(
    "path",
    ["", "/", "/admin/", "/panelx/", "/panel.", "/x/panel/", "//panel/", "/Panel/", "/healthz"],
)
def test_outside_of_it_nothing_does(path: str) -> None:
    assert answered(path) == ("404 Not Found", b'{"detail": "Not found."}', None)
    assert answered(path, "HEAD") == ("404 Not Found", b"", None)


@pytest.fixture
def below(settings: Settings) -> Iterator[None]:
    """As Django is in a panel with this path; the test client asks as if the path had been taken off."""
    settings.XPERT_BASE_PATH = settings.FORCE_SCRIPT_NAME = "/panel"
    set_script_prefix("/panel/")
    paths_for_programs.cache_clear()
    yield
    clear_script_prefix()
    paths_for_programs.cache_clear()


@pytest.mark.usefixtures("below")
def test_requests_of_programs_still_pass_by_the_middleware_of_pages() -> None:
    found = paths_for_programs("xpert_panel.urls")
    assert {"/api/xpert/traffic-webhook", "/api/xpert/traffic-webhook/"} <= found


@pytest.mark.django_db
@pytest.mark.usefixtures("below", "open_access")
@pytest.mark.parametrize("domain", ["", "panel.example.com"])
def test_addresses_that_are_given_out_begin_with_it(
    settings: Settings, domain: str, manager: Client
) -> None:
    settings.XPERT_DOMAIN, settings.ALLOWED_HOSTS = domain, ["*"]
    root = f"https://{domain}/panel" if domain else "http://testserver/panel"
    made = manager.post(
        "/api/xpert/subscribers", {"token": "user123"}, content_type="application/json"
    ).json()
    assert made["subscription_url"] == f"{root}/api/xpert/sub?user_token=user123"
    answer = manager.get("/api/xpert/sub?user_token=user123")
    assert answer["Traffic-Webhook"] == f"{root}/api/xpert/traffic-webhook"
    page = manager.get("/api/xpert/sub?user_token=user123&format=html").content.decode()
    assert f"{root}/api/xpert/sub?user_token=user123" in page
    assert "/panel/panel/" not in page


@pytest.mark.django_db
@pytest.mark.usefixtures("below")
def test_forms_of_a_subscriber_s_page_lead_back_below_it(settings: Settings) -> None:
    settings.XPERT_TELL_PEOPLE = True
    Subscriber.objects.create(token="user123")
    answer = Client().post("/api/xpert/tell-me?user_token=user123&told=yes&lang=ru")
    assert answer["Location"] == "/panel/api/xpert/sub?user_token=user123&lang=ru#telling"
    there = "/panel/api/xpert/sub?user_token=user123&lang=ru#telegram"
    assert page.back("user123", "ru") == there


@pytest.mark.django_db
@pytest.mark.usefixtures("below")
def test_marzban_s_widget_links_to_the_panel_below_it(settings: Settings, manager: Client) -> None:
    settings.XPERT_DOMAIN = "panel.example.com"
    found = manager.get("/api/xpert/marzban/widget").json()
    assert found["panel_url"] == "https://panel.example.com/panel/admin/"
