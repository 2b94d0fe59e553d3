"""The pages of receivers and deliveries, which never show a secret."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from operations.models import AuditEntry, Delivery, Notification, Receiver
from operations.notifications import outbox
from tests.operations.notifications.loopback import BOT_TOKEN, SECRET, Loopback, a_bot, a_receiver
from tests.traffic.admin_pages import act, messages_of, operator, staff, text_of, url
from tests.traffic.examples import DAY, NOW
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
LIST = "/admin/operations/receiver/"
DELIVERIES = "/admin/operations/delivery/"
WEBHOOK = {
    "name": "ops",
    "kind": "webhook",
    "target": "https://example.com/hook",
    "events": ["limit80"],
    "is_active": "on",
}
TELEGRAM = WEBHOOK | {"kind": "telegram", "target": "-1001234567890", "secret": BOT_TOKEN}
EMAIL = WEBHOOK | {"kind": "email", "target": "ops@example.com"}


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client() -> Client:
    return operator()


def added(client: Client, fields: dict[str, Any]) -> Any:
    return client.post(url("receiver_add"), fields, follow=True)


def only() -> Receiver:
    return Receiver.objects.get()


@pytest.mark.parametrize("fields", [WEBHOOK, TELEGRAM, EMAIL], ids=lambda fields: fields["kind"])
def test_a_receiver_of_each_kind_can_be_added(client: Client, fields: dict[str, Any]) -> None:
    added(client, fields)
    found = only()
    assert (found.kind, found.target, found.events, found.is_active) == (
        fields["kind"], fields["target"], ["limit80"], True,
    )  # fmt: skip


def test_the_secret_of_a_new_webhook_is_made_and_shown_once(client: Client) -> None:
    answer = added(client, WEBHOOK)
    shown = re.search(
        r'<input class="xp-secret"[^>]* value="([^"]+)" data-copy="Copy">', answer.content.decode()
    )
    assert shown
    assert only().secret == shown[1]
    assert len(shown[1]) >= 43
    for address in (
        LIST,
        url("receiver_change", only().pk),
        url("receiver_history", only().pk),
        "/admin/",
    ):
        assert shown[1] not in client.get(address).content.decode()
    stored = f"{AuditEntry.objects.get().__dict__} {[session.get_decoded() for session in Session.objects.all()]}"
    assert shown[1] not in stored


def test_a_secret_that_was_entered_is_not_shown(client: Client) -> None:
    answer = added(client, WEBHOOK | {"secret": SECRET})
    assert only().secret == SECRET
    assert "s3cr3t" not in answer.content.decode()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (WEBHOOK | {"target": "example.com"}, "Expected a URL like https://example.com/hook"),
        (WEBHOOK | {"target": "https://example.com:25/"}, "Only ports 80, 443"),
        (
            WEBHOOK | {"target": "http://169.254.169.254/latest"},
            "The address is private or reserved",
        ),
        (WEBHOOK | {"target": "https://user:pw@example.com/"}, "without user and password"),
        (WEBHOOK | {"secret": "x" * 15}, "Expected at least 16 characters."),
        (TELEGRAM | {"target": "ann"}, "Expected a chat id"),
        (TELEGRAM | {"secret": ""}, "Expected a bot token"),
        (
            TELEGRAM | {"secret": "1:../../elsewhere-----------------"},
            "Expected a bot token",
        ),
        (EMAIL | {"target": "ann"}, "Enter a valid email address."),
        (WEBHOOK | {"events": ["of-another-version"]}, "Select a valid choice."),
        (WEBHOOK | {"target": ""}, "This field is required."),
    ],
)
def test_it_says_what_is_wrong_with_a_receiver(
    client: Client, fields: dict[str, Any], words: str
) -> None:
    answer = added(client, fields)
    assert words in text_of(answer)
    assert "s3cr3t" not in answer.content.decode()
    assert not Receiver.objects.exists()


def test_an_empty_secret_stays_and_another_replaces_it(client: Client) -> None:
    receiver = a_bot()
    page = url("receiver_change", receiver.pk)
    fields = {"name": "night", "target": "@channel", "events": ["disk"], "is_active": "on"}
    client.post(page, fields | {"secret": ""})
    assert (only().name, only().target, only().secret, only().kind) == (
        "night",
        "@channel",
        BOT_TOKEN,
        "telegram",
    )
    client.post(page, fields | {"secret": f"9{BOT_TOKEN}", "kind": "webhook"})
    assert (only().secret, only().kind) == (f"9{BOT_TOKEN}", "telegram")


@pytest.mark.parametrize("receiver", [a_receiver, a_bot])
def test_no_page_shows_a_secret_and_lists_show_of_an_address_the_host(
    client: Client, receiver: Any
) -> None:
    found = receiver()
    for address in (
        LIST,
        url("receiver_history", found.pk),
        url("receiver_test", found.pk),
        DELIVERIES,
    ):
        assert "s3cr3t" not in client.get(address).content.decode()
    assert found.secret not in client.get(url("receiver_change", found.pk)).content.decode()
    if found.kind == "webhook":
        assert "http://127.0.0.1:9/…" in text_of(client.get(LIST))


def test_users_who_may_only_view_see_no_more_than_the_list() -> None:
    found = a_receiver()
    client = staff("view_receiver")
    page = client.get(url("receiver_change", found.pk))
    assert page.status_code == 200
    assert "s3cr3t" not in page.content.decode()
    assert "http://127.0.0.1:9/…" in text_of(page)
    assert client.get(url("receiver_test", found.pk)).status_code == 403
    assert client.post(url("receiver_test", found.pk)).status_code == 403


def test_the_page_leads_to_the_test(client: Client) -> None:
    found = a_receiver()
    assert (
        url("receiver_test", found.pk)
        in client.get(url("receiver_change", found.pk)).content.decode()
    )


def test_a_test_is_sent_at_once_and_says_how_it_went(client: Client, loopback: Loopback) -> None:
    found = a_receiver(loopback.url, is_active=False)
    assert "Send a test to ops?" in text_of(client.get(url("receiver_test", found.pk)))
    assert loopback.came == []
    assert messages_of(client.post(url("receiver_test", found.pk), follow=True)) == [
        "The receiver confirmed the test."
    ]
    loopback.answers = [404]
    (said,) = messages_of(client.post(url("receiver_test", found.pk), follow=True))
    assert said.startswith(
        "The test was not delivered. The receiver does not know the address (404)"
    )
    assert [came.json["event"] for came in loopback.came] == ["test", "test"]


def test_deliveries_are_listed_with_their_state(
    client: Client, loopback: Loopback, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    a_receiver(loopback.url)
    for number in range(20):
        Subscriber.objects.create(name=f"user{number}", expires_at=NOW + DAY)
    outbox.notice(NOW)
    loopback.answers = [200] * 5 + [500]
    outbox.deliver(NOW)
    client.get(DELIVERIES)  # what needs attention is counted once a minute
    with django_assert_max_num_queries(12):
        page = client.get(DELIVERIES)
    text = text_of(page)
    assert "The last day of user19 is 2024-02-11 19:20." in text
    assert "on its way" in text
    assert "The receiver answers with an error (500)." in text
    assert len(client.get(f"{DELIVERIES}?state__exact=delivered").context["cl"].result_list) == 5
    assert len(client.get(f"{DELIVERIES}?event=disk").context["cl"].result_list) == 0
    assert len(client.get(f"{DELIVERIES}?event=expiring&q=user7").context["cl"].result_list) == 1


def test_deliveries_that_were_given_up_are_sent_again(client: Client, loopback: Loopback) -> None:
    a_receiver(loopback.url)
    Subscriber.objects.create(name="Ann", expires_at=NOW + DAY)
    outbox.notice(NOW)
    Delivery.objects.update(state="failed", last_error="timeout")
    assert "given up" in text_of(client.get(DELIVERIES))
    assert messages_of(act(client, "delivery", "send_again", Delivery.objects.get())) == [
        "1 delivery is sent again in the next run."
    ]
    outbox.deliver(NOW)
    assert len(loopback.came) == 1


def test_deleting_a_receiver_takes_its_deliveries_along(client: Client) -> None:
    found = a_receiver()
    Subscriber.objects.create(name="Ann", expires_at=NOW + DAY)
    outbox.notice(NOW)
    client.post(url("receiver_delete", found.pk), {"post": "yes"})
    assert not Receiver.objects.exists()
    assert not Delivery.objects.exists()
    assert Notification.objects.count() == 1


def test_empty_lists_say_what_to_do(client: Client) -> None:
    assert "No receivers yet." in text_of(client.get(LIST))
    assert "No notifications yet" in text_of(client.get(DELIVERIES))


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:9000/", "http://localhost/", "https://[::1]/", "http://10.1.2.3/", "http://hooks.internal/",
     "http://2130706433/", "http://[::ffff:127.0.0.1]/"],
)  # fmt: skip
def test_a_webhook_in_the_own_network_has_to_be_allowed(
    client: Client, settings: Settings, target: str
) -> None:
    settings.XPERT_ALLOW_PRIVATE_RECEIVERS = False
    page = client.post(f"{LIST}add/", WEBHOOK | {"target": target})
    assert not Receiver.objects.exists()
    assert "XPERT_ALLOW_PRIVATE_RECEIVERS" in text_of(page) or "Expected a URL" in text_of(page)


def test_a_webhook_that_was_saved_before_is_not_dialled_in_the_own_network(
    client: Client, settings: Settings, loopback: Loopback
) -> None:
    found = a_receiver(loopback.url)
    settings.XPERT_ALLOW_PRIVATE_RECEIVERS = False
    assert outbox.send_test(found, timezone.now()) == "private_address"
    assert loopback.came == []


def test_telegrams_address_is_the_operators_own_choice(
    settings: Settings, loopback: Loopback
) -> None:
    settings.XPERT_ALLOW_PRIVATE_RECEIVERS = False
    settings.XPERT_TELEGRAM_URL = loopback.url
    assert outbox.send_test(a_bot(), timezone.now()) == ""
    assert len(loopback.came) == 1
