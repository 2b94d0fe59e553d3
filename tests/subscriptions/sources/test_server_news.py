"""Servers that go down and come back: told after several checks in a row, each once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from pytest_django import Settings

from operations.models import Notification, Receiver
from operations.notifications import outbox
from operations.watch import attention
from subscriptions import conditions
from subscriptions.models import Endpoint
from subscriptions.sources import reachability
from subscriptions.sources.probing import Probe

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = ("a.example", 443), ("b.example", 443)


@pytest.fixture(autouse=True)
def _receiver() -> None:
    events = ["server-down", "server-up"]
    Receiver.objects.create(name="r", kind="webhook", target="http://127.0.0.1:1/", events=events)


def checked(*states: bool, at: tuple[str, int] = A) -> list[str]:
    """Store one check after another, an hour apart; return what was told."""
    for hours, is_up in enumerate(states):
        probe = Probe(5, 0) if is_up else Probe()
        now = NOW + timedelta(hours=hours)
        reachability._store({at: probe}, now)
        outbox.notice(now)
    return told()


def told() -> list[str]:
    return list(Notification.objects.order_by("pk").values_list("text", flat=True))


@pytest.mark.parametrize(
    ("states", "news"),
    [
        ([True] * 5, []),
        ([False] * 2, []),
        ([False] * 3, ["down"]),
        ([False] * 6, ["down"]),
        ([True, False, False, True, False, False], []),
        ([False] * 3 + [True] * 2, ["down"]),
        ([False] * 3 + [True] * 3, ["down", "up"]),
        ([False] * 3 + [True] * 3 + [False] * 3, ["down", "up", "down"]),
    ],
)
def test_news_is_what_holds_for_three_checks_in_a_row(
    states: Sequence[bool], news: Sequence[str]
) -> None:
    words = {"down": "has not answered since", "up": "answers again"}
    found = checked(*states)
    assert len(found) == len(news)
    assert all(words[kind] in text for kind, text in zip(news, found, strict=True))


def test_the_number_of_checks_is_a_setting(settings: Settings) -> None:
    settings.XPERT_SERVER_CHECKS = 1
    (text,) = checked(False)
    assert text == "Server a.example:443 has not answered since 2026-01-01 00:00 UTC."


def test_many_servers_that_are_down_are_one_message(settings: Settings) -> None:
    settings.XPERT_SERVER_CHECKS = 1
    probes = {(f"s{number}.example", 443): Probe() for number in range(conditions.MANY + 1)}
    reachability._store(probes, NOW)
    outbox.notice(NOW)
    (text,) = told()
    assert text.startswith("11 servers do not answer: s0.example:443, ")


def test_the_first_screen_says_how_many_answer_and_leads_to_those_that_do_not(
    admin_client: Client,
) -> None:
    checked(True, True, True, at=B)
    assert "servers answer" not in admin_client.get("/admin/").content.decode()
    checked(False, False, False)
    (item,) = [one for one in attention.items(NOW, lambda _: True) if "answer" in one.text]
    assert item.text == "Servers: 1 of 2 servers answer."
    assert item.link == "/admin/subscriptions/node/?answers=down"
    assert admin_client.get(item.link).status_code == 200
    assert Endpoint.objects.get(settled="down").streak == 3
