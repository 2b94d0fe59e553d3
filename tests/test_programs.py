"""Every route of the panel passes the middleware of pages, unless its view is for programs alone."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import resolve
from django.utils import timezone
from pytest_django import Settings
from rest_framework.authentication import SessionAuthentication

from operations.audit import By
from operations.http import programs
from operations.http.programs import FOR_PAGES, ProgramsMiddleware, is_for_programs
from subscriptions import direct_configs
from tests.routes import Route, routes
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

GATE = "operations.http.programs.ProgramsMiddleware"
# Of a linked panel's own subscription address.
PANEL_PATH = {"folder": "sub", "token": "token-of-somebody-123", "rest": ""}
VALUES = defaultdict(lambda: "1", app_label="traffic", **PANEL_PATH)
ROUTES = routes(VALUES)
OF_PROGRAMS = {
    "traffic:webhook",
    "traffic:meter-readings",
    "subscriptions:subscription",
    "subscriptions:direct-subscription",
    "subscriptions:servers",
    "subscriptions:tell-me",
    "telegram:link",
}


def passed(request: HttpRequest) -> set[str]:
    """What the middleware of pages has put on a request."""
    return {name for name in ("session", "user", "_messages") if hasattr(request, name)}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[HttpRequest]:
    """The requests that reach a view, each answered without it."""
    found: list[HttpRequest] = []

    def process_view(_: object, request: HttpRequest, *__: object) -> HttpResponse:
        found.append(request)
        return HttpResponse()

    monkeypatch.setattr(ProgramsMiddleware, "process_view", process_view, raising=False)
    return found


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_only_routes_of_programs_lack_what_pages_need(
    route: Route, seen: list[HttpRequest]
) -> None:
    Client().get(route.url)
    expected = set() if route.name in OF_PROGRAMS else {"session", "user", "_messages"}
    assert [passed(request) for request in seen] == [expected]


def test_a_view_for_programs_knows_nobody_by_a_session() -> None:
    views: list[Any] = [resolve(route.url).func for route in ROUTES if route.name in OF_PROGRAMS]
    assert all(is_for_programs(view) and view.csrf_exempt for view in views)
    classes = [view.cls for view in views if hasattr(view, "cls")]
    known_by = [kind for found in classes for kind in found.authentication_classes]
    assert not any(issubclass(kind, SessionAuthentication) for kind in known_by)


def test_all_middleware_of_pages_follows_the_gate() -> None:
    """Otherwise a part of it would run for programs, without what it stands on."""
    names = settings.MIDDLEWARE[settings.MIDDLEWARE.index(GATE) + 1 :]
    assert tuple(names) == FOR_PAGES


@pytest.mark.parametrize("end", ["", "/"])
def test_a_slash_at_the_end_makes_no_difference(end: str, seen: list[HttpRequest]) -> None:
    Client().post(f"/api/xpert/traffic-webhook{end}")
    assert [passed(request) for request in seen] == [set()]


def test_a_foreign_host_is_refused_before_programs_pass() -> None:
    foreign = Client(headers={"host": "elsewhere.example.com"})
    assert foreign.get("/api/xpert/sub").status_code == 400


@time_machine.travel(datetime(2026, 11, 25, 12, tzinfo=UTC), tick=False)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/xpert/sub?user_token=user1"),
        ("GET", "/api/xpert/sub?user_token=user1&format=html"),
        ("GET", "/api/xpert/direct-configs/sub?user_token=user1"),
        ("GET", "/api/xpert/servers?user_token=user1"),
        ("GET", "/api/xpert/sub?user_token=nobody"),
        ("POST", "/api/xpert/sub"),
        ("GET", "/api/xpert/traffic-webhook"),
        ("POST", "/api/xpert/traffic-webhook"),
        ("POST", "/api/xpert/meter-readings"),
    ],
)
def test_programs_get_the_answer_that_they_got_as_pages(
    method: str, path: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Subscriber.objects.create(token="user1")
    direct_configs.add_many(["trojan://pw@vpn.example.com:443#One"], By("a test", timezone.now()))
    told = []
    for paths in (programs.paths_for_programs(settings.ROOT_URLCONF), frozenset[str]()):
        monkeypatch.setattr(ProgramsMiddleware, "_paths", paths)
        client = Client()
        client.force_login(User.objects.get_or_create(username="root", is_staff=True)[0])
        told.append(_told(client.generic(method, path, "{}", content_type="application/json")))
    assert told[0] == told[1]


def _told(answer: Any) -> tuple[int, bytes, dict[str, str]]:
    of_one = {"X-Request-Id"}
    headers = {name: value for name, value in answer.headers.items() if name not in of_one}
    return answer.status_code, answer.content, headers
