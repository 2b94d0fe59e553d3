"""Subscribers who want it are notified themselves, each event once and in their own language."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from operations.audit import By
from operations.models import Notification
from operations.notifications import outbox
from subscriptions import person_events, telling
from subscriptions.models import ToldPerson
from tests.operations.notifications.loopback import Loopback, a_receiver, loopback
from tests.traffic.examples import DAY, GB, NOW, a_report, stored, subscriber
from traffic.models import Subscriber
from traffic.people import erasure

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _on(settings: Settings) -> None:
    settings.XPERT_TELL_PEOPLE = True
    settings.XPERT_ALLOW_PRIVATE_RECEIVERS = True


@pytest.fixture(name="bot")
def _bot() -> Iterator[Loopback]:
    """A webhook that wants the events for people alone."""
    with loopback() as found:
        a_receiver(found.url, events=sorted(person_events.NAMES))
        yield found


def ann(used: int = 0, language: str | None = "en", **fields: Any) -> Subscriber:
    Subscriber.objects.create(token="ann-token", name="Ann", data_limit=50 * GB, **fields)
    stored(a_report(user_token="ann-token", download=used))
    found = subscriber("ann-token")
    if language:
        telling.tell(found.pk, language)
    return found


def told(bot: Loopback) -> list[tuple[str, str]]:
    """What has come since the last call, as event and text."""
    outbox.notice(NOW)
    outbox.deliver(NOW)
    came = [(came.json["event"], came.json["text"]) for came in bot.came]
    bot.came.clear()
    return came


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "You have used 82 % of your data: 41.00 GB of 50.00 GB."),
        ("ru", "Израсходовано 82 % вашего трафика: 41,00 ГБ из 50,00 ГБ."),
        ("fa", "۸۲ % از حجم خود را مصرف کرده‌اید: ۴۱"),
    ],
)
def test_80_percent_is_told_once_in_the_own_language(
    bot: Loopback, language: str, text: str
) -> None:
    ann(41 * GB, language)
    ((event, said),) = told(bot)
    assert event == "person-limit80"
    assert said.startswith(text)
    assert told(bot) == []


@pytest.mark.parametrize(
    ("used", "left", "event", "text"),
    [
        (50 * GB, 9 * DAY, "person-limit100", "Your data is used up: 50.00 GB."),
        (0, 3 * DAY, "person-expiring", "Your subscription works until the end of 13 February 2024."),
        (0, 0 * DAY, "person-expired", "Your subscription has expired; its last day was 10 February 2024."),
    ],
)  # fmt: skip
def test_the_other_events_are_told(
    bot: Loopback, used: int, left: Any, event: str, text: str
) -> None:
    ann(used, expires_at=NOW + left)
    ((found, said),) = told(bot)
    assert found == event
    assert said.startswith(text)


def test_the_language_and_the_external_id_are_in_the_data(bot: Loopback) -> None:
    ann(41 * GB, "fa", external_id="shop-17")
    told(bot)
    data = Notification.objects.get().data
    assert (data["language"], data["subscriber"]["external_id"]) == ("fa", "shop-17")


def test_nobody_is_told_who_did_not_ask_for_it(bot: Loopback) -> None:
    ann(41 * GB, None)
    assert told(bot) == []


def test_nobody_is_told_while_the_setting_is_off(bot: Loopback, settings: Settings) -> None:
    settings.XPERT_TELL_PEOPLE = False
    ann(41 * GB)
    assert told(bot) == []


def test_a_failure_is_tried_again(bot: Loopback) -> None:
    ann(41 * GB)
    bot.answers = [500]
    assert len(told(bot)) == 1
    assert outbox.deliver(NOW + DAY / 24).delivered == 1
    assert len(bot.came) == 1


def test_erasing_a_person_forgets_the_wish_and_the_messages(bot: Loopback) -> None:
    found = ann(41 * GB)
    told(bot)
    assert erasure.erase(found, By("ada", NOW)).dropped["wish to be notified"] == 1
    assert not ToldPerson.objects.exists()
    assert not Notification.objects.exists()
