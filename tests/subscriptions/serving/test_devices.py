"""Devices: the first of them, up to the limit, get the list; the others a line and headers that say why."""

import logging
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from operations.audit import By
from subscriptions import devices
from subscriptions.devices import Admission, Identity
from subscriptions.models import Device
from subscriptions.serving import catalogue
from tests.subscriptions.examples import DIRECT, SUB, A, ask, direct, subscriber
from traffic.models import Plan, Subscriber
from traffic.people import changes, erasure, next_plans, plans

pytestmark = pytest.mark.django_db
FULL = "⛔ Device limit reached: {}"


def fetch(
    hwid: str = "", token: str = "user123", path: str = SUB, *, query: Any = None, **headers: str
) -> Any:
    told = {"user-agent": "Happ/3.1.0"} | ({"x-hwid": hwid} if hwid else {}) | headers
    return ask(token, path, told, **(query or {}))


def names(answer: Any) -> list[str]:
    return [unquote(line.partition("#")[2]) for line in answer.content.decode().splitlines()]


@pytest.fixture(autouse=True)
def one_server(settings: Settings) -> None:
    settings.XPERT_LANGUAGE = "en"
    direct(A)


class TestOff:
    def test_without_a_limit_nothing_is_stored_and_no_header_is_sent(self) -> None:
        subscriber()
        answer = fetch("phone-1")
        assert names(answer) == ["A"]
        assert not Device.objects.exists()
        assert not [name for name in answer.headers if "hwid" in name.lower()]
        assert answer.headers["Vary"] == "User-Agent, Accept"

    def test_without_a_limit_it_costs_no_query(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        subscriber()
        fetch("phone-1")
        with django_assert_num_queries(4):
            fetch("phone-1")


class TestLimit:
    def test_the_first_devices_get_the_list_and_the_next_one_a_line(self) -> None:
        subscriber(device_limit=2)
        assert [names(fetch(f"phone-{number}")) for number in (1, 2, 3)] == [
            ["A"], ["A"], [FULL.format(2)],
        ]  # fmt: skip
        assert names(fetch("phone-1")) == names(fetch("phone-2")) == ["A"]
        assert Device.objects.count() == 2

    @pytest.mark.parametrize("app", ["base64", "mihomo", "sing-box", "xray"])
    def test_every_format_has_the_line_and_no_server(self, app: str) -> None:
        subscriber(device_limit=1)
        fetch("phone-1")
        body = fetch("phone-2", query={"format": app}).content
        shown = b64decode(body).decode() if app == "base64" else body.decode()
        assert "a.example" not in shown
        assert "Device limit reached" in unquote(shown)

    def test_direct_configurations_are_limited_too(self) -> None:
        subscriber(device_limit=1)
        fetch("phone-1")
        assert names(fetch("phone-2", path=DIRECT)) == [FULL.format(1)]

    def test_devices_of_others_do_not_count(self) -> None:
        subscriber(device_limit=1)
        subscriber("other", device_limit=1)
        assert names(fetch("phone-1")) == names(fetch("phone-2", "other")) == ["A"]

    def test_a_lower_limit_keeps_the_devices_that_came_first(self) -> None:
        subscriber(device_limit=3)
        for number in (1, 2, 3):
            fetch(f"phone-{number}")
        Subscriber.objects.update(device_limit=1)
        assert [names(fetch(f"phone-{number}")) for number in (1, 2, 3)] == [
            ["A"], [FULL.format(1)], [FULL.format(1)],
        ]  # fmt: skip

    def test_a_known_device_costs_one_query(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        subscriber(device_limit=1)
        fetch("phone-1")
        with django_assert_num_queries(5):
            fetch("phone-1")

    def test_the_page_in_a_browser_is_no_device(self) -> None:
        subscriber(device_limit=1)
        fetch("phone-1")
        shown = fetch("browser-1", accept="text/html", **{"user-agent": "Mozilla/5.0"})
        assert shown.status_code == 200
        assert "Device limit reached" not in shown.content.decode()
        assert Device.objects.count() == 1

    def test_head_stores_nothing_and_is_answered_alike(self) -> None:
        subscriber(device_limit=1)
        head = Client(headers={"host": "127.0.0.1:8000", "x-hwid": "phone-1"}).head
        assert "X-Hwid-Limit" not in head(SUB, {"user_token": "user123"}).headers
        assert not Device.objects.exists()
        fetch("phone-2")
        assert head(SUB, {"user_token": "user123"}).headers["X-Hwid-Limit"] == "true"

    def test_whoever_may_not_use_the_subscription_stores_nothing(self) -> None:
        subscriber(device_limit=1, is_active=False)
        assert names(fetch("phone-1")) == ["⛔ Subscription is disabled"]
        assert not Device.objects.exists()

    def test_a_device_that_gets_no_list_does_not_begin_the_term(self) -> None:
        person = subscriber(device_limit=1)
        fetch("phone-1")
        Subscriber.objects.update(hold_days=30)
        fetch("phone-2")
        person.refresh_from_db()
        assert person.hold_days == 30
        fetch("phone-1")
        person.refresh_from_db()
        assert person.hold_days is None


class TestHeaders:
    def test_a_device_within_the_limit_is_told_that_there_is_one(self) -> None:
        subscriber(device_limit=1)
        answer = fetch("phone-1")
        assert answer.headers["X-Hwid-Active"] == "true"
        assert "X-Hwid-Limit" not in answer.headers
        assert "Announce" not in answer.headers
        assert answer.headers["Vary"] == "User-Agent, Accept, Accept-Language, X-Hwid"

    def test_a_device_beyond_the_limit_is_told_why(self) -> None:
        subscriber(device_limit=1)
        fetch("phone-1")
        answer = fetch("phone-2")
        assert answer.status_code == 200
        assert answer.headers["X-Hwid-Active"] == "true"
        assert answer.headers["X-Hwid-Max-Devices-Reached"] == "true"
        assert answer.headers["X-Hwid-Limit"] == "true"
        assert answer.headers["Announce"] == "Device limit reached: 1"
        assert "X-Hwid-Not-Supported" not in answer.headers
        assert "Subscription-Userinfo" in answer.headers

    def test_the_reason_is_in_the_persons_language(self) -> None:
        subscriber(device_limit=1)
        fetch("phone-1")
        answer = fetch("phone-2", **{"accept-language": "ru-RU"})
        assert names(answer) == ["⛔ Достигнут лимит устройств: 1"]
        announced = answer.headers["Announce"].removeprefix("base64:")
        assert b64decode(announced).decode() == "Достигнут лимит устройств: 1"

    def test_a_304_carries_them_too(self) -> None:
        subscriber(device_limit=1)
        tag = fetch("phone-1").headers["ETag"]
        again = fetch("phone-1", **{"if-none-match": tag})
        assert again.status_code == 304
        assert again.headers["X-Hwid-Active"] == "true"
        assert fetch("phone-2", **{"if-none-match": tag}).status_code == 200


class TestApps:
    def test_an_app_without_an_id_gets_the_list_by_default(self) -> None:
        subscriber(device_limit=1)
        fetch("phone-1")
        assert names(fetch()) == ["A"]
        assert Device.objects.count() == 1

    def test_it_is_refused_if_the_setting_says_so(self, settings: Settings) -> None:
        settings.XPERT_DEVICES_WITHOUT_ID = "refuse"
        subscriber(device_limit=1)
        answer = fetch()
        assert names(answer) == ["⛔ This app does not identify the device: use another app"]
        assert answer.headers["X-Hwid-Not-Supported"] == answer.headers["X-Hwid-Limit"] == "true"
        assert "X-Hwid-Max-Devices-Reached" not in answer.headers

    def test_the_setting_is_for_subscribers_with_a_limit(self, settings: Settings) -> None:
        settings.XPERT_DEVICES_WITHOUT_ID = "refuse"
        subscriber()
        assert names(fetch()) == ["A"]

    def test_an_id_that_is_too_long_counts_as_none(self) -> None:
        subscriber(device_limit=1)
        assert names(fetch("x" * 257)) == ["A"]
        assert not Device.objects.exists()
        fetch("x" * 256)
        assert Device.objects.count() == 1

    def test_it_is_stored_what_the_app_tells_of_the_device(self) -> None:
        subscriber(device_limit=1)
        fetch(
            "phone-1", **{"x-device-os": "Android", "x-ver-os": "14", "x-device-model": "Pixel 8"}
        )
        device = Device.objects.get()
        assert (device.system, device.system_version, device.model, device.app) == (
            "Android", "14", "Pixel 8", "happ",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("sent", "stored"),
        [
            ("Телефон".encode().decode("latin-1"), "Телефон"),
            ("\xff\xfe", "��"),
            ("a\x00b\x1bc", "abc"),
            ("x" * 65, "x" * 64),
        ],
    )
    def test_whatever_it_tells_can_be_stored(self, sent: str, stored: str) -> None:
        subscriber(device_limit=1)
        fetch("phone-1", **{"x-device-model": sent})
        assert Device.objects.get().model == stored

    def test_the_id_is_neither_stored_nor_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        subscriber(device_limit=1)
        fetch("very-own-id-of-the-phone")
        fetch("very-own-id-of-the-other")
        row = Device.objects.values().get()
        assert "very-own" not in f"{row}{caplog.text}"
        assert len(row["fingerprint"]) == 64

    def test_the_same_device_cannot_be_told_at_two_subscribers(self) -> None:
        subscriber(device_limit=1)
        subscriber("other", device_limit=1)
        fetch("phone-1")
        fetch("phone-1", "other")
        assert len({device.fingerprint for device in Device.objects.all()}) == 2

    def test_a_device_is_known_under_a_former_secret_and_moves_to_the_new_one(
        self, settings: Settings
    ) -> None:
        subscriber(device_limit=1)
        fetch("phone-1")
        before = Device.objects.get().fingerprint
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "another-" * 8
        assert names(fetch("phone-1")) == ["A"]
        assert Device.objects.get().fingerprint != before
        settings.SECRET_KEY_FALLBACKS = []
        assert names(fetch("phone-1")) == ["A"]


class TestLastSeen:
    def test_it_is_written_once_an_hour(self) -> None:
        person, now = subscriber(device_limit=1), timezone.now()
        told = Identity("phone-1")
        for minutes, seen in ((0, 0), (59, 0), (60, 60), (119, 60)):
            devices.admit(person, told, now + timedelta(minutes=minutes))
            device = Device.objects.get()
            assert device.last_seen == now + timedelta(minutes=seen)
            assert device.first_seen == now

    def test_an_update_of_the_system_is_seen(self) -> None:
        person, now = subscriber(device_limit=1), timezone.now()
        devices.admit(person, Identity("phone-1", "iOS", "17"), now)
        devices.admit(person, Identity("phone-1", "iOS", "18"), now + timedelta(hours=2))
        assert str(Device.objects.get()) == "iOS 18"


class TestForgetting:
    def test_a_new_token_forgets_all(self) -> None:
        person = subscriber(device_limit=1)
        other = subscriber("other", device_limit=1)
        fetch("phone-1")
        fetch("phone-2", "other")
        changes.renew_tokens([person.pk], By("ada", timezone.now()))
        assert [device.subscriber for device in Device.objects.all()] == [other]

    def test_erasure_takes_the_devices_of_one(self) -> None:
        person, other = subscriber(device_limit=1), subscriber("other", device_limit=1)
        fetch("phone-1")
        fetch("phone-2", "other")
        assert erasure.erase(person, By("ada", timezone.now())).dropped["devices"] == 1
        assert [device.subscriber for device in Device.objects.all()] == [other]

    def test_cleanup_forgets_only_if_the_setting_says_so(self, settings: Settings) -> None:
        person, now = subscriber(device_limit=2), timezone.now()
        devices.admit(person, Identity("old"), now - timedelta(days=31))
        devices.admit(person, Identity("new"), now - timedelta(days=29))
        assert devices.drop_old(now) == 0
        settings.XPERT_DEVICES_RETENTION_DAYS = 30
        assert devices.drop_old(now) == 1
        assert devices.admit(person, Identity("new"), now) is Admission.ADMITTED

    def test_a_device_that_is_forgotten_makes_room(self) -> None:
        person = subscriber(device_limit=1)
        fetch("phone-1")
        devices.forget(person, Device.objects.get().pk, By("ada", timezone.now()))
        assert names(fetch("phone-2")) == ["A"]
        assert names(fetch("phone-1")) == [FULL.format(1)]


class TestPlans:
    def test_a_plan_sets_the_limit(self) -> None:
        person = subscriber()
        plans.apply([person.pk], Plan.objects.create(name="Three", device_limit=3), by())
        person.refresh_from_db()
        assert person.device_limit == 3
        plans.apply([person.pk], Plan.objects.create(name="Free"), by())
        person.refresh_from_db()
        assert person.device_limit is None

    def test_the_next_plan_sets_it_when_it_begins(self) -> None:
        person = subscriber(expires_at=timezone.now() - timedelta(days=1))
        plan = Plan.objects.create(name="Two", device_limit=2, days=30)
        next_plans.add([person.pk], plan, by(), "term", renews=False)
        fetch("phone-1")
        person.refresh_from_db()
        assert person.device_limit == 2


def by() -> By:
    return By("ada", timezone.now())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", [1, 3])
def test_new_devices_at_the_same_moment_never_exceed_the_limit(limit: int) -> None:
    person = subscriber("at-once", device_limit=limit)
    catalogue.shelf.clear()

    def come(number: int) -> Admission:
        try:
            return devices.admit(person, Identity(f"phone-{number}"), timezone.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(come, range(12)))
    assert found.count(Admission.ADMITTED) == Device.objects.count() == limit
    assert found.count(Admission.TOO_MANY) == 12 - limit


@pytest.mark.django_db(transaction=True)
def test_one_device_that_comes_several_times_at_once_takes_one_place() -> None:
    person = subscriber("at-once", device_limit=2)

    def come(_: int) -> Admission:
        try:
            return devices.admit(person, Identity("phone"), timezone.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(come, range(8))) == {Admission.ADMITTED}
    assert Device.objects.count() == 1
