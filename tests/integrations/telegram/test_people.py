"""What subscribers get from the bot."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from integrations.telegram import codes
from integrations.telegram.models import Answer, Link, LinkCode
from operations.audit import By
from subscriptions import telling
from tests.integrations.telegram.bot_api import BotApi
from tests.integrations.telegram.conftest import GB, link
from tests.traffic.examples import a_report, stored
from traffic.models import Subscriber
from traffic.people import changes, erasure

pytestmark = pytest.mark.django_db
Turn = Callable[[], list[str]]


def test_a_code_links_a_chat_once(api: BotApi, ann: Subscriber, turn: Turn) -> None:
    code = codes.for_subscriber(ann, "en", timezone.now())
    api.says(f"/start {code}")
    (said,) = turn()
    assert said.startswith("Linked: Ann.")
    api.says(code, chat=8)
    assert turn() == ["This code is not valid any more. Your page makes a new one."]
    assert [(row.chat, row.subscriber) for row in Link.objects.all()] == [(7, ann)]


@pytest.mark.parametrize(("minutes", "valid"), [(14, True), (15, False)])
def test_a_code_is_valid_for_a_quarter_of_an_hour(
    ann: Subscriber, minutes: int, valid: bool
) -> None:
    now = timezone.now()
    code = codes.for_subscriber(ann, "en", now)
    assert (codes.redeem(code, 7, now + timedelta(minutes=minutes)) is not None) is valid


def test_a_code_is_stored_as_a_hash_and_a_new_one_ends_it(ann: Subscriber) -> None:
    now = timezone.now()
    first = codes.for_subscriber(ann, "en", now)
    codes.for_subscriber(ann, "en", now)
    assert first not in str(list(LinkCode.objects.values()))
    assert codes.redeem(first, 7, now) is None


def test_usage_tells_state_bytes_and_days(api: BotApi, ann: Subscriber, turn: Turn) -> None:
    now = timezone.now()
    Subscriber.objects.update(expires_at=now + timedelta(days=5, hours=1))
    stored(a_report(now, user_token="ann-token", download=10 * GB), now=now)
    link(ann)
    api.says("/usage")
    (said,) = turn()
    assert "Subscription is active" in said
    assert "Used: 10.00 GB of 50.00 GB (20 %), left: 40.00 GB" in said
    assert "5 days left" in said


def test_link_sends_the_address_and_a_qr_code(
    api: BotApi, ann: Subscriber, turn: Turn, settings: Settings
) -> None:
    settings.XPERT_DOMAIN = "panel.example.com"
    link(ann)
    api.says("/link")
    (said,) = turn()
    assert "https://panel.example.com/api/xpert/sub?user_token=ann-token" in said
    (photo,) = api.of("sendPhoto")
    assert b"\x89PNG" in photo.body
    assert photo.fields["chat_id"] == 7
    assert not Answer.objects.exists()


def test_a_stranger_learns_how_to_link_and_nothing_else(api: BotApi, turn: Turn) -> None:
    for text in ("/usage", "/link", "hello", "/find ann", "/start"):
        api.says(text)
    said = turn()
    assert len(said) == 5
    assert {words.partition(" and")[0] for words in said} == {
        "Open your subscription's page in a browser"
    }


def test_a_chat_of_an_old_token_gets_nothing(api: BotApi, ann: Subscriber, turn: Turn) -> None:
    link(ann)
    changes.renew_tokens([ann.pk], By("eve", timezone.now()))
    api.says("/link")
    (said,) = turn()
    assert said.startswith("Open your subscription's page")
    assert not api.of("sendPhoto")


def test_a_group_gets_nothing(api: BotApi, ann: Subscriber, turn: Turn) -> None:
    link(ann, chat=-7)
    api.says("/link", chat=-7, kind="group")
    assert turn() == []


def test_messages_can_be_switched_off_and_on(
    api: BotApi, ann: Subscriber, turn: Turn, settings: Settings
) -> None:
    settings.XPERT_TELL_PEOPLE = True
    link(ann)
    assert telling.language_of(ann) == "en"
    api.says("/messages")
    assert turn() == ["You are not notified any more."]
    assert telling.language_of(ann) is None
    api.says("/messages")
    turn()
    assert telling.language_of(ann) == "en"


def test_unlink_forgets_the_chat(api: BotApi, ann: Subscriber, turn: Turn) -> None:
    link(ann)
    api.says("/unlink")
    turn()
    assert not Link.objects.exists()


def test_erasing_a_person_forgets_the_chat(ann: Subscriber) -> None:
    link(ann)
    assert erasure.erase(ann, By("eve", timezone.now())).dropped["Telegram chat"] == 1


def test_answers_are_in_the_language_of_the_link(api: BotApi, ann: Subscriber, turn: Turn) -> None:
    code = codes.for_subscriber(ann, "ru", timezone.now())
    api.says(f"/start {code}")
    (said,) = turn()
    assert said.startswith("Чат привязан: Ann.")
