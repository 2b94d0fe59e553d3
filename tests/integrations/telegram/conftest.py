import threading
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from pytest_django import Settings

from integrations.telegram import codes, lease, running
from tests.integrations.telegram.bot_api import TOKEN, BotApi, bot_api
from traffic.models import Subscriber

GB = 2**30


@pytest.fixture
def api(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[BotApi]:
    # It would close the connection that holds the transaction of the test.
    monkeypatch.setattr(running, "close_old_connections", lambda: None)
    with bot_api() as found:
        settings.XPERT_TELEGRAM_TOKEN = TOKEN
        settings.XPERT_TELEGRAM_URL = found.url
        yield found


@pytest.fixture
def ann() -> Subscriber:
    return Subscriber.objects.create(token="ann-token", name="Ann", data_limit=50 * GB)


@pytest.fixture
def eve() -> User:
    user = User.objects.create_user("eve", is_staff=True)
    user.groups.add(Group.objects.get(name="operator"))
    return user


@pytest.fixture
def turn(api: BotApi) -> Callable[[], list[str]]:
    """One turn of the loop: all updates that wait are done. Returns the texts that the bot has sent since the last."""
    holder = lease.take(timezone.now())
    loop = running._Loop(holder, threading.Event())
    loop._is_known = True

    def run() -> list[str]:
        before = len(api.texts)
        loop._turn()
        return api.texts[before:]

    return run


def link(person: Subscriber | User, chat: int = 7, now: datetime | None = None) -> None:
    moment = now or timezone.now()
    if isinstance(person, Subscriber):
        codes.redeem(codes.for_subscriber(person, "en", moment), chat, moment)
    else:
        codes.redeem(codes.for_user(person, "en", moment), chat, moment)
