"""What the staff may do in a chat, and that the admin's permissions hold at each command."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from integrations.telegram.models import Link
from operations.models import AuditEntry
from tests.integrations.telegram.bot_api import BotApi
from tests.integrations.telegram.conftest import link
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
Turn = Callable[[], list[str]]


def buttons(api: BotApi) -> dict[str, str]:
    """The buttons of the last message: data by label."""
    rows = api.of("sendMessage")[-1].fields.get("reply_markup", {}).get("inline_keyboard", [])
    return {button["text"]: button["callback_data"] for row in rows for button in row}


@pytest.fixture
def _term(ann: Subscriber) -> None:
    ann.expires_at = timezone.now() + timedelta(days=2)
    ann.save()


@pytest.mark.usefixtures("_term")
def test_search_shows_people_with_buttons(
    api: BotApi, ann: Subscriber, eve: User, turn: Turn
) -> None:
    link(eve)
    api.says("/find an")
    (said,) = turn()
    assert said.startswith(f"Ann (#{ann.pk})")
    assert list(buttons(api)) == ["+30 days", "Switch off"]
    api.says("/find zoe")
    assert turn() == ["Nobody was found."]


@pytest.mark.usefixtures("_term")
def test_extending_asks_first_and_counts_once(
    api: BotApi, ann: Subscriber, eve: User, turn: Turn
) -> None:
    link(eve)
    before = ann.expires_at
    assert before is not None
    api.presses(f"extend:{ann.pk}")
    (asked,) = turn()
    assert "→" in asked
    data = buttons(api)["Extend"]
    api.presses(data)
    api.presses(data)
    assert turn()[-1] == "Ann was changed meanwhile. Nothing was done."
    ann.refresh_from_db()
    assert ann.expires_at is not None
    assert ann.expires_at - before == timedelta(days=30)
    entry = AuditEntry.objects.filter(action="extended").get()
    assert (entry.author, entry.target_id) == ("eve (Telegram)", ann.pk)


@pytest.mark.usefixtures("_term")
def test_any_number_of_days_can_be_written(
    api: BotApi, ann: Subscriber, eve: User, turn: Turn
) -> None:
    link(eve)
    api.says(f"/extend {ann.pk} 7")
    turn()
    assert buttons(api)["Extend"].startswith(f"extend!:{ann.pk}:7:")
    for words in ("0", "3651", "x", ""):
        api.says(f"/extend {ann.pk} {words}")
        assert turn() == ["Write the number and the days: /extend 17 30"]


def test_switching_off_asks_first_and_on_does_not(
    api: BotApi, ann: Subscriber, eve: User, turn: Turn
) -> None:
    link(eve)
    api.presses(f"off:{ann.pk}")
    turn()
    ann.refresh_from_db()
    assert ann.is_active
    api.presses(buttons(api)["Switch off"])
    turn()
    ann.refresh_from_db()
    assert not ann.is_active
    api.presses(buttons(api)["Switch on"])
    turn()
    ann.refresh_from_db()
    assert ann.is_active
    actions = AuditEntry.objects.filter(target_id=ann.pk, author="eve (Telegram)").order_by("pk")
    assert [entry.action for entry in actions] == ["switched off", "switched on"]


def test_a_viewer_sees_and_changes_nothing(
    api: BotApi, ann: Subscriber, eve: User, turn: Turn
) -> None:
    eve.groups.set([Group.objects.get(name="viewer")])
    link(eve)
    api.says("/find ann")
    (said,) = turn()
    assert said.startswith("Ann")
    assert buttons(api) == {}
    api.presses(f"off!:{ann.pk}")
    assert turn() == ["You may not do that."]
    ann.refresh_from_db()
    assert ann.is_active


def test_whoever_loses_the_permission_may_not_even_search(
    api: BotApi, ann: Subscriber, eve: User, turn: Turn
) -> None:
    link(eve)
    eve.groups.clear()
    api.says("/find ann")
    api.presses(f"off!:{ann.pk}")
    assert turn() == ["You may not do that.", "There is no such subscriber."]
    ann.refresh_from_db()
    assert ann.is_active


@pytest.mark.parametrize("field", ["is_active", "is_staff"])
def test_whoever_leaves_the_staff_is_a_stranger(
    api: BotApi, ann: Subscriber, eve: User, turn: Turn, field: str
) -> None:
    link(eve)
    User.objects.update(**{field: False})
    api.says("/find ann")
    api.presses(f"off!:{ann.pk}")
    (said,) = turn()
    assert said.startswith("Open your subscription's page")
    ann.refresh_from_db()
    assert ann.is_active


def test_linking_is_in_the_audit_trail(eve: User) -> None:
    link(eve)
    entry = AuditEntry.objects.get()
    assert (entry.author, entry.target_kind) == ("eve", "telegram.link")
    assert Link.objects.get().user == eve


@pytest.mark.parametrize(
    "data", ["", "off!", "off!:", "off!:x", "off!:99999999999999999999", "?:1"]
)
def test_bad_buttons_do_nothing(
    api: BotApi, ann: Subscriber, eve: User, turn: Turn, data: str
) -> None:
    link(eve)
    api.presses(data)
    turn()
    assert len(api.of("answerCallbackQuery")) == 1
    assert not AuditEntry.objects.filter(
        target_id=ann.pk, target_kind="traffic.subscriber"
    ).exists()
