"""Each notification reaches each receiver once, however many attempts it takes."""

import io
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from smtplib import SMTPRecipientsRefused
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.management import call_command
from pytest_django import DjangoAssertNumQueries, Settings

from operations.models import Delivery, Notification, Receiver
from operations.notifications import channels, outbox, reasons
from operations.outbound import posting
from operations.outbound.exchange import Limits
from operations.watch import command_runs
from tests.operations.notifications.loopback import BOT_TOKEN, SECRET, Loopback, a_bot, a_receiver
from tests.test_scripts import REPOSITORY
from tests.traffic.examples import DAY, HOUR, NOW
from tests.traffic.ledger.test_recording_concurrently import at_once
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
State = Delivery.State


def expiring(*names: str) -> None:
    for name in names:
        Subscriber.objects.create(name=name, expires_at=NOW + DAY)


def run(now: datetime = NOW) -> str:
    output = io.StringIO()
    with time_machine.travel(now, tick=False):
        call_command("send_notifications", stdout=output)
    return output.getvalue().strip()


def only() -> Delivery:
    return Delivery.objects.get()


def test_the_command_notices_sends_and_says_so(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann", "Bob")
    said = run()
    assert (
        said
        == "Noticed 2 events, delivered 2 notifications, 0 failed and are tried again, 0 given up."
    )
    assert [text.split()[4] for text in loopback.texts] == ["Ann", "Bob"]
    assert {(row.state, row.delivered_at, row.attempts) for row in Delivery.objects.all()} == {
        ("delivered", NOW, 1)
    }
    assert [(ran.command, ran.succeeded_at) for ran in command_runs.all_runs()] == [
        ("send_notifications", NOW)
    ]


def test_a_confirmed_delivery_is_never_sent_again(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann")
    for minutes in range(5):
        run(NOW + minutes * MINUTE)
    assert len(loopback.came) == 1


def test_after_a_500_it_is_tried_again_with_the_same_id(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann")
    loopback.answers = [500]
    assert "0 notifications, 1 failed" in run()
    assert (only().state, only().last_error, only().next_try) == (
        "pending",
        "http_500",
        NOW + MINUTE,
    )
    assert "delivered 0 notifications, 0 failed" in run(NOW + MINUTE / 2)
    assert "delivered 1 notifications, 0 failed" in run(NOW + MINUTE)
    assert (only().state, only().last_error, only().attempts) == ("delivered", "", 2)
    first, second = loopback.came
    assert first.body == second.body
    assert first.headers["Xpert-Timestamp"] != second.headers["Xpert-Timestamp"]


def test_a_timeout_is_tried_again(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "post", lambda message: posting.post(message, Limits(total=0.3)))
    a_receiver(loopback.url)
    expiring("Ann")
    loopback.go.clear()
    run()
    assert (only().state, only().last_error) == ("pending", "timeout")
    loopback.go.set()
    monkeypatch.undo()
    run(NOW + MINUTE)
    assert only().state == "delivered"


def test_a_redirect_is_no_confirmation_and_is_followed_nowhere(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann")
    loopback.answers, loopback.location = [307], f"{loopback.url}/elsewhere"
    run()
    assert (only().state, only().last_error, len(loopback.came)) == ("pending", "http_307", 1)


def test_waits_grow_to_an_hour(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann")
    loopback.answers = [500] * 100
    now, waits = NOW, []
    for _ in range(9):
        run(now)
        waits.append((only().next_try - now) // MINUTE)
        now = only().next_try
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_a_webhook_names_is_kept_and_what_comes_meanwhile_waits_too(
    loopback: Loopback, status: int
) -> None:
    a_receiver(loopback.url)
    expiring("Ann", "Bob")
    loopback.answers, loopback.retry_after = [status], "3600"
    run()
    assert Delivery.objects.get(attempts=1).next_try == NOW + HOUR
    expiring("Cid")
    run(NOW + HOUR - MINUTE)
    assert len(loopback.came) == 1
    run(NOW + HOUR)
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_a_wait_that_is_shorter_than_ours_does_not_shorten_it(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann")
    loopback.answers, loopback.retry_after = [429], "1"
    run()
    assert only().next_try == NOW + MINUTE


def test_one_receiver_that_asks_to_wait_holds_up_no_other(loopback: Loopback) -> None:
    a_receiver(loopback.url, name="a")
    a_receiver(loopback.url, name="b")
    expiring("Ann", "Bob")
    loopback.answers, loopback.retry_after = [429], "3600"
    run()
    assert Delivery.objects.filter(receiver__name="b", state="delivered").count() == 2


def test_a_notification_that_is_refused_with_503_for_ever_starves_no_other(
    loopback: Loopback,
) -> None:
    a_receiver(loopback.url)
    expiring("Ann", "Bob")
    loopback.answers = [503]
    run()
    loopback.answers = [200, 503]
    run(NOW + MINUTE)
    assert [row.state for row in Delivery.objects.order_by("pk")] == ["pending", "delivered"]


def telegram_says(**parameters: int) -> bytes:
    return json.dumps({"ok": False, "description": "…", "parameters": parameters}).encode()


@pytest.mark.parametrize("seconds", [3600, 10**9])
def test_a_wait_that_telegram_names_in_its_body_is_kept_up_to_a_day(
    loopback: Loopback, settings: Settings, seconds: int
) -> None:
    settings.XPERT_TELEGRAM_URL = loopback.url
    a_bot()
    expiring("Ann")
    loopback.answers, loopback.refusal = [429], telegram_says(retry_after=seconds)
    run()
    assert only().next_try == NOW + min(timedelta(seconds=seconds), DAY)


def test_a_chat_that_has_got_another_id_is_found_there(
    loopback: Loopback, settings: Settings
) -> None:
    settings.XPERT_TELEGRAM_URL = loopback.url
    receiver = a_bot(target="-42")
    expiring("Ann")
    loopback.answers, loopback.refusal = [400], telegram_says(migrate_to_chat_id=-1001234567890)
    run()
    assert [came.json["chat_id"] for came in loopback.came] == ["-42", "-1001234567890"]
    assert only().state == "delivered"
    receiver.refresh_from_db()
    assert receiver.target == "-1001234567890"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"parameters": 1}', b'{"parameters": {"migrate_to_chat_id": "x"}}', b"\xff",
     b'{"parameters": {"retry_after": true}}', b"[" * 10_000],
)  # fmt: skip
def test_a_refusal_that_says_nothing_changes_nothing(
    loopback: Loopback, settings: Settings, body: bytes
) -> None:
    settings.XPERT_TELEGRAM_URL = loopback.url
    a_bot()
    expiring("Ann")
    loopback.answers, loopback.refusal = [400], body
    run()
    assert (only().last_error, only().next_try, len(loopback.came)) == ("http_400", NOW + MINUTE, 1)


def test_a_chat_that_moves_without_end_is_asked_twice(
    loopback: Loopback, settings: Settings
) -> None:
    settings.XPERT_TELEGRAM_URL = loopback.url
    a_bot()
    expiring("Ann")
    loopback.answers, loopback.refusal = [400] * 9, telegram_says(migrate_to_chat_id=-1)
    run()
    assert (only().last_error, len(loopback.came)) == ("http_400", 2)


def test_after_three_days_it_is_given_up_visibly(
    loopback: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    a_receiver(loopback.url, events=["expiring"])
    expiring("Ann")
    loopback.answers = [500] * 100
    run()
    assert "1 failed" in run(NOW + 3 * DAY - HOUR / 3600)
    assert run(NOW + 3 * DAY + HOUR).endswith("0 failed and are tried again, 1 given up.")
    assert (only().state, only().last_error) == ("failed", "http_500")
    assert "1 notifications were given up" in caplog.text
    run(NOW + 4 * DAY)
    assert len(loopback.came) == 2


def test_a_delivery_that_was_given_up_can_be_sent_again(loopback: Loopback) -> None:
    a_receiver(loopback.url, events=["expiring"])
    expiring("Ann")
    loopback.answers = [500]
    run()
    run(NOW + 4 * DAY)
    assert outbox.send_again([only().pk], NOW + 5 * DAY) == 1
    run(NOW + 5 * DAY)
    assert only().state == "delivered"
    assert outbox.send_again([only().pk], NOW + 5 * DAY) == 0


def test_one_receiver_that_fails_holds_up_no_other(loopback: Loopback, unused_port: int) -> None:
    a_receiver(f"http://127.0.0.1:{unused_port}", name="a")
    a_receiver(loopback.url, name="b")
    expiring("Ann", "Bob")
    run()
    assert len(loopback.came) == 2
    # After the first failure the other notification waits for the next run.
    assert list(
        Delivery.objects.filter(receiver__name="a")
        .order_by("pk")
        .values_list("attempts", flat=True)
    ) == [1, 0]


def test_one_notification_that_fails_holds_up_no_other(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann", "Bob")
    loopback.answers = [400]
    run()
    run(NOW + MINUTE / 2)
    assert [row.state for row in Delivery.objects.order_by("pk")] == ["pending", "delivered"]


def test_a_receiver_hears_only_of_what_it_wants(loopback: Loopback) -> None:
    a_receiver(loopback.url, events=["limit100"])
    a_receiver(name="other", events=["expiring"])
    expiring("Ann")
    outbox.notice(NOW)
    assert only().receiver.name == "other"


def test_a_receiver_that_is_switched_off_gets_nothing(loopback: Loopback) -> None:
    receiver = a_receiver(loopback.url)
    expiring("Ann")
    outbox.notice(NOW)
    Receiver.objects.update(is_active=False)
    run()
    assert loopback.came == []
    Receiver.objects.filter(pk=receiver.pk).update(is_active=True)
    run()
    assert len(loopback.came) == 1


def test_a_receiver_that_is_added_later_is_not_told_what_others_know(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann")
    run()
    a_receiver(loopback.url, name="later")
    run()
    assert len(loopback.came) == 1


def test_a_claim_of_a_process_that_died_ends(loopback: Loopback) -> None:
    receiver = a_receiver(loopback.url)
    expiring("Ann")
    outbox.notice(NOW)
    assert len(outbox._claimed(receiver, NOW)) == 1
    run(NOW + 9 * MINUTE)
    assert loopback.came == []
    run(NOW + 10 * MINUTE)
    assert len(loopback.came) == 1


def test_a_run_ends_in_time(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_RUN", 0.0)
    a_receiver(loopback.url)
    expiring("Ann")
    run()
    assert loopback.came == []
    assert outbox._CLAIM.total_seconds() > outbox._RUN + 2 * posting.LIMITS.total


def test_without_receivers_a_run_asks_next_to_nothing(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    expiring("Ann")
    with django_assert_num_queries(3):  # receivers, what is to be given up, receivers
        outbox.notice(NOW)
        assert outbox.deliver(NOW) == outbox.Sent()


def test_the_command_is_expected_to_run_when_there_is_anybody_to_tell() -> None:
    assert "send_notifications" not in command_runs.expected()
    a_receiver(is_active=False)
    assert "send_notifications" not in command_runs.expected()
    a_receiver()
    assert command_runs.expected()["send_notifications"] == HOUR


# --- exactly once ------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_send_each_notification_once(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    a_receiver(loopback.url, name="other")
    expiring(*(f"user{number}" for number in range(20)))
    at_once([lambda: (outbox.notice(NOW), outbox.deliver(NOW))] * 4)
    outbox.deliver(NOW)
    assert Notification.objects.count() == 20
    assert len(loopback.came) == 40
    told = [int(came.headers["Xpert-Id"]) for came in loopback.came]
    assert sorted(told) == sorted([*Notification.objects.values_list("pk", flat=True)] * 2)
    assert set(Delivery.objects.values_list("state", "attempts")) == {("delivered", 1)}


@pytest.mark.django_db(transaction=True)
def test_a_second_run_does_not_touch_what_the_first_is_sending(loopback: Loopback) -> None:
    receiver = a_receiver(loopback.url)
    expiring("Ann")
    outbox.notice(NOW)
    claims = at_once([lambda: outbox._claimed(receiver, NOW)] * 4)
    assert sorted(len(claimed) for claimed in claims) == [0, 0, 0, 1]


# --- the three channels ------------------------------------------------------


def test_a_webhook_gets_who_when_and_what(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann")
    run()
    notification, (came,) = Notification.objects.get(), loopback.came
    assert came.path == "/hook?key=s3cr3t-in-the-url"
    assert came.json == {
        "id": notification.pk,
        "event": "expiring",
        "at": "2024-02-10T19:20:30+00:00",
        "text": "The last day of Ann is 2024-02-11 19:20.",
        "data": {
            "subscriber": {"id": notification.target_id, "name": "Ann", "external_id": ""},
            "expires_at": "2024-02-11T19:20:30+00:00",
        },
    }


def check_of_the_docs() -> Any:
    """The example in the docs, which operators copy."""
    text = (REPOSITORY / "docs/notifications.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  our own
    return names["is_from_the_panel"]


def test_the_check_in_the_docs_takes_what_is_ours_and_nothing_else(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Анна")
    run()
    (came,) = loopback.came
    is_ours = check_of_the_docs()
    later = {"Xpert-Timestamp": str(int(came.headers["Xpert-Timestamp"]) + 1)}
    with time_machine.travel(NOW + 5 * MINUTE, tick=False):
        assert is_ours(SECRET, came.headers, came.body)
        assert not is_ours("another secret", came.headers, came.body)
        assert not is_ours(SECRET, came.headers, came.body + b" ")
        assert not is_ours(SECRET, came.headers | later, came.body)
    with time_machine.travel(NOW + 6 * MINUTE, tick=False):
        assert not is_ours(SECRET, came.headers, came.body)


def test_telegram_gets_several_notifications_as_one_message(
    loopback: Loopback, settings: Settings
) -> None:
    settings.XPERT_TELEGRAM_URL = f"{loopback.url}/by-another-way/"
    a_bot()
    expiring(*(f"user{number}" for number in range(9)))
    assert "delivered 9 notifications" in run()
    first, second = loopback.came
    assert first.path == f"/by-another-way/bot{BOT_TOKEN}/sendMessage"
    assert (first.json["chat_id"], len(first.json["text"].splitlines())) == ("-1001234", 8)
    assert second.json["text"] == "The last day of user8 is 2024-02-11 19:20."


def test_the_longest_message_is_one_that_telegram_takes() -> None:
    longest = Notification._meta.get_field("text").max_length or 0
    assert (longest + 1) * channels.CHANNELS["telegram"].at_once <= 4096


def test_a_mail_tells_one_notification_in_its_subject_and_counts_several() -> None:
    a_receiver(kind=Receiver.Kind.EMAIL, target="ops@example.com", secret="")
    expiring("Ann")
    run()
    expiring("Bob", "Cid")
    run(NOW + MINUTE)
    one, two = mail.outbox
    assert (one.to, one.subject) == (
        ["ops@example.com"],
        "Xpert Panel: The last day of Ann is 2024-02-11 19:20.",
    )
    assert two.subject == "Xpert Panel: 2 notifications"
    assert (
        two.body
        == "The last day of Bob is 2024-02-11 19:20.\nThe last day of Cid is 2024-02-11 19:20."
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConnectionRefusedError(), "connection"), (SMTPRecipientsRefused({}), "mail_refused")],
)
def test_a_mail_that_is_not_taken_is_tried_again(
    error: Exception, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    a_receiver(kind=Receiver.Kind.EMAIL, target="ops@example.com", secret="")
    expiring("Ann")
    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    run()
    assert (only().state, only().last_error) == ("pending", code)
    monkeypatch.undo()
    run(NOW + MINUTE)
    assert only().state == "delivered"


# --- a test, secrets, reasons ------------------------------------------------


def test_a_test_is_sent_at_once_and_only_once(loopback: Loopback) -> None:
    receiver = a_receiver(loopback.url, is_active=False, events=[])
    assert outbox.send_test(receiver, NOW) == ""
    assert (loopback.came[0].json["event"], loopback.texts) == (
        "test",
        ["This is a test from Xpert Panel."],
    )
    assert only().state == "delivered"
    loopback.answers = [404]
    assert outbox.send_test(receiver, NOW) == "http_404"
    Receiver.objects.update(is_active=True)
    run(NOW + DAY)
    assert len(loopback.came) == 2
    assert outbox.undelivered(NOW + DAY) == {}


def test_undelivered_notifications_are_counted_by_receiver(loopback: Loopback) -> None:
    a_receiver(loopback.url)
    expiring("Ann", "Bob")
    loopback.answers = [500] * 100
    for minutes in (0, 1, 3):
        assert outbox.undelivered(NOW + minutes * MINUTE) == {}
        for _ in range(2):
            run(NOW + minutes * MINUTE)
    assert outbox.undelivered(NOW + HOUR) == {"ops": 2}
    run(NOW + 4 * DAY)
    assert outbox.undelivered(NOW + 4 * DAY) == {"ops": 2}
    assert outbox.undelivered(NOW + 10 * DAY) == {}


def test_no_secret_is_logged_or_printed(
    loopback: Loopback, unused_port: int, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    settings.XPERT_TELEGRAM_URL = f"http://127.0.0.1:{unused_port}"
    a_bot()
    a_receiver(loopback.url)
    loopback.answers = [500] * 10
    expiring("Ann")
    said = run() + run(NOW + 4 * DAY)
    assert "s3cr3t" not in said + caplog.text + str(list(Delivery.objects.values()))
    assert "Nothing reached the receiver" in caplog.text


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", ""),
        ("timeout", "too slow"),
        ("http_404", "(404)"),
        ("http_302", "redirects (302)"),
        ("http_500", "an error (500)"),
    ],
)
def test_each_reason_has_its_sentence(code: str, words: str) -> None:
    assert words in reasons.sentence(code)
    assert bool(reasons.sentence(code)) is bool(code)


def test_the_docs_name_every_event_and_every_wait() -> None:
    text = Path(REPOSITORY / "docs/notifications.md").read_text()
    for name in (
        "limit80",
        "limit100",
        "expiring",
        "server-silent",
        "reporter-silent",
        "reporter-problem",
        "people-unknown",
        "implausible",
        "disk",
    ):
        assert f"| `{name}` |" in text
