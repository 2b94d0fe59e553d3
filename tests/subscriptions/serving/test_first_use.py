"""The first fetch of a list begins a term that is on hold; looking at the page does not."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tests.subscriptions.examples import SUB, A, ask, direct, subscriber
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def person() -> Subscriber:
    direct(A)
    return subscriber(hold_days=30)


def hold_days() -> int | None:
    return Subscriber.objects.get().hold_days


def test_the_first_list_is_served_and_begins_the_term() -> None:
    answer = ask()
    assert answer.content.decode().splitlines()[-1].endswith("#A")
    assert hold_days() is None
    expires_at = Subscriber.objects.get().expires_at
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert f"expire={int(expires_at.timestamp())}" in answer.headers["Subscription-Userinfo"]


def test_a_second_list_does_not_move_it() -> None:
    ask()
    first = Subscriber.objects.get().expires_at
    ask()
    assert Subscriber.objects.get().expires_at == first


def test_the_page_says_so_and_begins_nothing() -> None:
    shown = ask(format="html", lang="en").content.decode()
    assert "Subscription begins with the first use" in shown
    assert "30 days from the first use" in shown
    assert hold_days() == 30


def test_names_of_servers_begin_nothing() -> None:
    assert ask(path="/api/xpert/servers").json()["servers"]
    assert hold_days() == 30


def test_head_begins_nothing() -> None:
    client = Client(headers={"host": "127.0.0.1:8000"})
    assert client.head(SUB, {"user_token": "user123"}).status_code == 200
    assert hold_days() == 30


def test_whoever_is_switched_off_begins_nothing() -> None:
    Subscriber.objects.update(is_active=False)
    ask()
    assert hold_days() == 30
