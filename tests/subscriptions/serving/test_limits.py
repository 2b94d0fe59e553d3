"""At a limit on servers only these servers leave a person's list; a line says so."""

from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.utils import timezone
from pytest_django import Settings

from operations.audit import By
from subscriptions.models import Node
from subscriptions.sources import limited_places
from tests.subscriptions.examples import A, B, C, ask, direct, source, stored, subscriber
from traffic.ledger.lookup import Endpoint
from traffic.ledger.recording import record
from traffic.models import Plan, ServerLimit, Subscriber
from traffic.people import server_limits
from traffic.reports import Report

pytestmark = pytest.mark.django_db
SERVER_A = ("a.example", 1, "trojan")


@pytest.fixture(autouse=True)
def person(settings: Settings) -> Subscriber:
    settings.XPERT_LANGUAGE = "en"
    direct(A, B)
    return subscriber(data_limit=10**6)


def by() -> By:
    return By("ada", timezone.now())


def a_limit(*servers: Endpoint, **fields: Any) -> ServerLimit:
    limit = ServerLimit(**{"name": "Alpha", "data_limit": 100} | fields)
    server_limits.add(limit, servers or (SERVER_A,), by())
    return limit


def used(size: int, host: str = "a.example", port: int = 1, token: str = "user123") -> None:
    now = timezone.now() + timedelta(seconds=1)
    record([Report(token, host, port, "trojan", size, 0, int(now.timestamp()))], now)


def listed(token: str = "user123") -> list[str]:
    lines = ask(token).content.decode().splitlines()
    return [unquote(line.partition("#")[2]) for line in lines]


def names(token: str = "user123") -> list[str]:
    return [one["name"] for one in ask(token, "/api/xpert/servers").json()["servers"]]


NOTICE = "⛔ Data limit is used up: Alpha"


def test_below_the_limit_nothing_changes() -> None:
    a_limit()
    used(99)
    assert listed() == ["A", "B"]


def test_at_the_limit_its_server_leaves_and_a_line_says_so() -> None:
    a_limit()
    used(100)
    assert listed() == ["B", NOTICE]
    assert names() == ["B"]


def test_the_line_is_in_the_panels_language(settings: Settings) -> None:
    settings.XPERT_LANGUAGE = "ru"
    a_limit(limit_reset="daily")
    used(100)
    tomorrow = timezone.now() + timedelta(days=1)
    assert listed()[-1] == f"⛔ Лимит исчерпан: Alpha, снова с {tomorrow:%Y-%m-%d}"


@pytest.mark.parametrize("app", ["mihomo", "sing-box", "xray"])
def test_it_leaves_in_every_format(app: str) -> None:
    a_limit()
    used(100)
    shown = ask(format=app).content.decode()
    assert "a.example" not in shown
    assert "b.example" in shown


def test_the_header_stays_the_persons_own() -> None:
    a_limit()
    used(100)
    assert ask().headers["Subscription-Userinfo"] == "upload=100; download=0; total=1000000; expire=0"  # fmt: skip


def test_others_keep_the_server() -> None:
    subscriber("other")
    a_limit()
    used(100)
    assert listed("other") == ["A", "B"]


def test_a_limit_of_all_together_takes_it_from_everybody() -> None:
    subscriber("other")
    a_limit(scope="together")
    used(60)
    used(40, token="other")
    assert listed() == listed("other") == ["B", NOTICE]


def test_the_stricter_of_two_limits_wins() -> None:
    a_limit(data_limit=1000)
    a_limit(name="Strict", data_limit=50, scope="together")
    used(60)
    assert listed() == ["B", "⛔ Data limit is used up: Strict"]


def test_the_persons_own_limit_wins_over_all(person: Subscriber) -> None:
    a_limit()
    used(100)
    Subscriber.objects.update(data_limit=100)
    assert listed() == ["⛔ Data limit is used up"]
    assert names() == []


def test_a_limit_of_a_plan_is_for_its_subscribers(person: Subscriber) -> None:
    plan = Plan.objects.create(name="Month")
    a_limit(plan=plan)
    used(100)
    assert listed() == ["A", "B"]
    Subscriber.objects.update(plan=plan)
    assert listed() == ["B", NOTICE]


def test_after_a_restart_it_is_back() -> None:
    limit = a_limit()
    used(100)
    assert listed() == ["B", NOTICE]
    server_limits.restart(limit, By("ada", timezone.now() + timedelta(seconds=5)))
    assert listed() == ["A", "B"]


def test_a_higher_limit_gives_it_back() -> None:
    limit = a_limit()
    used(100)
    server_limits.change(limit, {"data_limit": 101}, by())
    assert listed() == ["A", "B"]


def test_without_the_limit_it_is_back() -> None:
    limit = a_limit()
    used(100)
    server_limits.remove(limit, by())
    assert listed() == ["A", "B"]


def test_a_limit_of_a_source_takes_all_its_servers() -> None:
    it = source()
    stored(it, C, "trojan://pw@d.example:4#D")
    value = limited_places.origin_of(it)
    a_limit(*limited_places.endpoints_of(value), origin=value, name="Provider")
    used(100, "c.example", 3)
    assert sorted(listed()) == ["A", "B", "⛔ Data limit is used up: Provider"]


def test_servers_that_are_new_in_a_source_come_under_its_limit() -> None:
    it = source()
    stored(it, C)
    value = limited_places.origin_of(it)
    a_limit(*limited_places.endpoints_of(value), origin=value, name="Provider")
    used(60, "d.example", 4)
    stored(it, C, "trojan://pw@d.example:4#D")
    limited_places.follow(it, timezone.now())
    assert Node.objects.filter(is_present=True).count() == 2
    used(40, "d.example", 4)
    assert sorted(listed()) == ["A", "B", "C", "D"]
    used(60, "c.example", 3)
    assert sorted(listed()) == ["A", "B", "⛔ Data limit is used up: Provider"]


def test_the_page_shows_how_far_each_limit_is_used() -> None:
    a_limit(data_limit=200)
    used(100)
    shown = ask(format="html", lang="en").content.decode()
    assert "Alpha" in shown
    assert 'value="50"' in shown
    used(100)
    assert "used up" in ask(format="html", lang="en").content.decode()


def test_the_page_tells_no_figures_of_all_together() -> None:
    a_limit(scope="together", data_limit=200, name="Whole")
    used(100)
    assert "Whole" not in ask(format="html", lang="en").content.decode()
