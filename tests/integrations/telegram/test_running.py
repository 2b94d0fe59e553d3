"""The loop: no update is lost or done twice, one process at a time, and no secret in the log."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from integrations.telegram import answers, bot_api, codes, lease, running, updates
from integrations.telegram.models import Answer, Bot, Link
from operations.models import Delivery, Receiver
from operations.notifications import outbox
from operations.outbound.errors import OutboundError
from subscriptions import telling
from tests.integrations.telegram.bot_api import TOKEN, BotApi
from tests.integrations.telegram.conftest import GB, link
from tests.traffic.examples import a_report, stored
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
Turn = Callable[[], list[str]]


def test_the_offset_confirms_what_is_done(api: BotApi, turn: Turn) -> None:
    api.says("hello")
    turn()
    api.says("hello again")
    turn()
    assert api.offsets == [0, 1002]
    assert Bot.objects.get().offset == 1003


def test_an_update_that_comes_again_is_not_done_again(
    api: BotApi, ann: Subscriber, turn: Turn
) -> None:
    link(ann)
    api.says("/usage")
    assert len(turn()) == 1
    raw = (
        b'{"update_id": 1001, "message": {"chat": {"id": 7, "type": "private"}, "text": "/usage"}}'
    )
    updates.do(raw, Bot.objects.get().holder, timezone.now())
    assert not Answer.objects.exists()


def test_an_answer_that_could_not_be_sent_is_sent_by_the_next_process(
    api: BotApi, ann: Subscriber, turn: Turn
) -> None:
    code = codes.for_subscriber(ann, "en", timezone.now())
    api.refusals["sendMessage"] = [(500, {})]
    api.says(f"/start {code}")
    assert turn()[1:] == []
    assert Link.objects.count() == Answer.objects.count() == 1
    assert answers.send_due(timezone.now() + timedelta(seconds=5)) is None
    assert api.texts[-1].startswith("Linked: Ann.")
    assert not Answer.objects.exists()


def test_an_update_that_fails_is_skipped_and_changes_nothing(
    api: BotApi, ann: Subscriber, turn: Turn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    def broken(*_: object) -> None:
        Subscriber.objects.update(name="half done")
        raise ZeroDivisionError

    monkeypatch.setattr(updates, "_said", broken)
    api.says("/usage")
    turn()
    assert Bot.objects.get().offset == 1002
    assert Subscriber.objects.get().name == "Ann"
    assert "An update of Telegram is skipped." in caplog.text


@pytest.mark.parametrize(
    "raw", [b'{"update_id": 1}', b'{"update_id": 1, "message": {"chat": "x"}}', b'{"update_id": 1, "poll": {}}']
)  # fmt: skip
def test_updates_of_other_kinds_are_passed_over(raw: bytes, turn: Turn) -> None:
    updates.do(raw, Bot.objects.get().holder, timezone.now())
    assert Bot.objects.get().offset == 2


def test_429_lets_all_answers_wait_as_long_as_telegram_asks(
    api: BotApi, ann: Subscriber, turn: Turn
) -> None:
    link(ann)
    api.refusals["sendMessage"] = [(429, {"parameters": {"retry_after": 40}})]
    api.says("/usage")
    api.says("/help")
    turn()
    waits = [row.next_try - timezone.now() for row in Answer.objects.all()]
    assert len(waits) == 2
    assert all(timedelta(seconds=38) < wait <= timedelta(seconds=40) for wait in waits)


def test_a_person_who_blocked_the_bot_is_remembered_until_they_write_again(
    api: BotApi, ann: Subscriber, turn: Turn
) -> None:
    link(ann)
    api.blocked.add(7)
    api.says("/usage")
    turn()
    assert not Answer.objects.exists()
    assert Link.objects.get().blocked_at is not None
    api.blocked.clear()
    api.says("/help")
    turn()
    assert Link.objects.get().blocked_at is None


def test_an_answer_of_yesterday_is_given_up(api: BotApi, turn: Turn) -> None:
    now = timezone.now()
    answers.store(7, [answers.text(7, "late")], now)
    api.refusals["sendMessage"] = [(500, {})]
    answers.send_due(now + timedelta(hours=6))
    assert not Answer.objects.exists()


def test_a_second_process_says_so_and_ends(api: BotApi) -> None:
    Bot.objects.create(
        pk=1, holder="elsewhere:1:x", held_until=timezone.now() + timedelta(minutes=1)
    )
    with pytest.raises(CommandError, match="The bot runs already, in process elsewhere:1"):
        call_command("telegram_bot")
    assert api.calls == []


@pytest.mark.parametrize(
    ("holder", "seconds", "is_free"),
    [
        ("elsewhere:1:x", 0, True),
        ("elsewhere:1:x", 1, False),
        (f"{socket.gethostname()}:{os.getppid()}:x", 1, False),
        (f"{socket.gethostname()}:{os.getpid()}:x", 1, True),
        (f"{socket.gethostname()}:4194305:x", 1, True),
        ("", 1, True),
    ],
    ids=["it is over", "elsewhere", "a process here", "this process", "an ended process", "nobody"],
)
def test_a_lease_ends_by_itself_or_with_its_process(
    holder: str, seconds: int, is_free: bool
) -> None:
    now = timezone.now()
    Bot.objects.create(pk=1, holder=holder, held_until=now + timedelta(seconds=seconds))
    if is_free:
        assert lease.take(now)
        return
    with pytest.raises(lease.HeldError):
        lease.take(now)


def test_a_process_that_lost_its_lease_does_nothing_more(
    api: BotApi, ann: Subscriber, turn: Turn
) -> None:
    link(ann)
    api.says("/unlink")
    Bot.objects.update(holder="elsewhere:1:x")
    with pytest.raises(lease.LostError):
        updates.do(b'{"update_id": 1}', "me:1:y", timezone.now())
    with pytest.raises(lease.LostError):
        turn()
    assert Link.objects.exists()


def test_after_a_week_without_updates_a_smaller_id_is_taken(api: BotApi, turn: Turn) -> None:
    Bot.objects.update(offset=10**9, came_at=timezone.now() - timedelta(days=7))
    api.says("hello")
    assert len(turn()) == 1
    assert Bot.objects.get().offset == 1002


def test_without_a_token_the_command_ends_at_once(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.XPERT_TELEGRAM_TOKEN = ""
    call_command("telegram_bot")
    assert capsys.readouterr().out == "There is no bot: XPERT_TELEGRAM_TOKEN is empty.\n"


def test_a_token_that_telegram_does_not_know_ends_the_command(
    api: BotApi, settings: Settings
) -> None:
    settings.XPERT_TELEGRAM_TOKEN = f"{TOKEN}x"
    with pytest.raises(CommandError, match="Telegram does not know XPERT_TELEGRAM_TOKEN"):
        call_command("telegram_bot")
    assert Bot.objects.get().holder == ""


def test_waiting_for_updates_ends_when_the_process_has_to_stop(api: BotApi) -> None:
    api.patience = 5
    stopping = threading.Event()
    threading.Timer(0.3, stopping.set).start()
    with pytest.raises(bot_api.StoppedError):
        bot_api.call("getUpdates", {"timeout": 25}, wait=25, stopping=stopping)


def test_no_network_is_waited_out_and_the_token_is_never_logged(
    api: BotApi, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings.XPERT_TELEGRAM_URL = f"http://127.0.0.1:{taken.getsockname()[1]}"
        loop = running._Loop(lease.take(timezone.now()), stopping := threading.Event())
        threading.Timer(0.5, stopping.set).start()
        loop.run()
    assert "Telegram cannot be reached now: connection" in caplog.text
    assert TOKEN.partition(":")[2] not in caplog.text


def test_errors_hold_no_part_of_the_address(api: BotApi) -> None:
    api.refusals["getMe"] = [(500, {})]
    with pytest.raises(OutboundError) as error:
        bot_api.call("getMe", {})
    assert TOKEN.partition(":")[2] not in f"{error.value!r}{error.value.answer!r}"


def test_the_first_turn_learns_the_name_and_gives_the_menu_in_three_languages(
    api: BotApi, settings: Settings
) -> None:
    settings.XPERT_TELL_PEOPLE = True
    loop = running._Loop(lease.take(timezone.now()), threading.Event())
    api.says("hello")
    loop._turn()
    assert Bot.objects.get().username == "panel_bot"
    menus = {call.fields.get("language_code", "") for call in api.of("setMyCommands")}
    assert menus == {"", "ru", "fa"}
    assert Receiver.objects.get().kind == "people"


class TestNotifications:
    """80 % and the like go to the chat of the person, once."""

    @pytest.fixture(autouse=True)
    def _on(self, api: BotApi, settings: Settings, ann: Subscriber) -> None:
        settings.XPERT_TELL_PEOPLE = True
        running._make_receiver("panel_bot")
        now = timezone.now()
        stored(a_report(now, user_token="ann-token", download=41 * GB), now=now)

    def run(self, later: timedelta = timedelta()) -> outbox.Sent:
        outbox.notice(timezone.now() + later)
        return outbox.deliver(timezone.now() + later)

    def test_they_go_to_the_chat_once(self, api: BotApi, ann: Subscriber) -> None:
        link(ann)
        assert self.run().delivered == 1
        assert self.run().delivered == 0
        (text,) = api.texts
        assert text == "You have used 82 % of your data: 41.00 GB of 50.00 GB."

    def test_people_without_a_chat_have_no_delivery(self, ann: Subscriber) -> None:
        telling.tell(ann.pk, "en")
        self.run()
        assert not Delivery.objects.exists()

    def test_who_blocked_the_bot_is_given_up_and_holds_up_nobody(
        self, api: BotApi, ann: Subscriber
    ) -> None:
        link(ann)
        api.blocked.add(7)
        assert self.run().given_up == 1
        assert Link.objects.get().blocked_at is not None
        assert Delivery.objects.get().last_error == "recipient_gone"
        assert outbox.undelivered(timezone.now()) == {}

    def test_429_is_waited_out(self, api: BotApi, ann: Subscriber) -> None:
        link(ann)
        api.refusals["sendMessage"] = [(429, {"parameters": {"retry_after": 300}})]
        assert self.run().failed == 1
        assert self.run(timedelta(seconds=290)).delivered == 0
        assert self.run(timedelta(seconds=301)).delivered == 1
