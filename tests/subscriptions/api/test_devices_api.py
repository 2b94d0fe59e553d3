"""``/api/xpert/subscribers/{id}/devices``."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from model_bakery import baker

from operations.api.authentication import create_api_key
from operations.models import AuditEntry
from subscriptions.models import Device, Group
from tests.subscriptions.api.test_subscribers_api import send
from tests.subscriptions.examples import subscriber
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def a_device(person: Subscriber, model: str = "Pixel 8") -> Device:
    return baker.make(
        Device, subscriber=person, model=model, app="happ", first_seen=NOON, last_seen=NOON
    )


def url(person: Subscriber, device: Any = "") -> str:
    return f"/api/xpert/subscribers/{person.pk}/devices{device and '/'}{device}"


def key(scope: str, **options: str) -> Client:
    return Client(headers={"x-api-key": create_api_key("bot", scope, options=options)[1]})


def test_devices_are_listed_in_their_order(manager: Client) -> None:
    person = subscriber(device_limit=2)
    first, second = a_device(person), a_device(person, "iPhone")
    answer = manager.get(url(person)).json()
    assert answer["device_limit"] == 2
    assert [row["id"] for row in answer["devices"]] == [first.pk, second.pk]
    assert answer["devices"][0] == {
        "id": first.pk, "system": "", "system_version": "", "model": "Pixel 8", "app": "happ",
        "first_seen": "2026-11-30T12:00:00Z", "last_seen": "2026-11-30T12:00:00Z",
    }  # fmt: skip


def test_one_is_read(manager: Client) -> None:
    person = subscriber(device_limit=2)
    device = a_device(person)
    assert manager.get(url(person, device.pk)).json()["model"] == "Pixel 8"
    assert manager.get(url(subscriber("other"), device.pk)).status_code == 404


def test_one_is_forgotten(manager: Client) -> None:
    person = subscriber(device_limit=2)
    gone, stays = a_device(person), a_device(person, "iPhone")
    assert manager.delete(url(person, gone.pk)).status_code == 204
    assert list(Device.objects.all()) == [stays]
    assert AuditEntry.objects.get(action="device forgotten").changes == {
        "device": ["Pixel 8", None]
    }
    assert manager.delete(url(person, gone.pk)).status_code == 404


def test_all_are_forgotten(manager: Client) -> None:
    person = subscriber(device_limit=2)
    a_device(person)
    stays = a_device(subscriber("other"))
    assert manager.delete(url(person)).status_code == 204
    assert list(Device.objects.all()) == [stays]


@pytest.mark.parametrize("device", ["999", "x", "0", "9" * 30])
def test_a_device_that_is_not_theirs_is_not_found(manager: Client, device: str) -> None:
    person = subscriber(device_limit=2)
    a_device(subscriber("other"))
    assert manager.delete(url(person, device)).status_code == 404
    assert Device.objects.exists()


def test_a_key_that_reads_may_list_but_not_forget() -> None:
    person = subscriber(device_limit=2)
    a_device(person)
    reader = key("read")
    assert reader.get(url(person)).status_code == 200
    assert reader.delete(url(person)).status_code == 403
    assert Device.objects.exists()


def test_a_key_of_a_group_sees_the_devices_of_its_people_alone() -> None:
    group = Group.objects.create(name="Berlin")
    mine, other = subscriber(), subscriber("other")
    group.subscribers.add(mine)
    a_device(other)
    limited = key("manage", groups=str(group.pk))
    assert limited.get(url(mine)).status_code == 200
    assert limited.get(url(other)).status_code == limited.delete(url(other)).status_code == 404
    assert Device.objects.exists()


@pytest.mark.parametrize("limit", [1, 100, None])
def test_the_limit_is_set_and_shown(manager: Client, limit: int | None) -> None:
    person = subscriber(device_limit=7)
    path = f"/api/xpert/subscribers/{person.pk}"
    answer = send(manager, path, {"device_limit": limit}, "PATCH")
    assert answer.json()["device_limit"] == limit


@pytest.mark.parametrize("limit", [0, 101, "3", 1.5, True])
def test_a_limit_that_cannot_be_is_refused_by_name(manager: Client, limit: Any) -> None:
    person = subscriber(device_limit=7)
    path = f"/api/xpert/subscribers/{person.pk}"
    answer = send(manager, path, {"device_limit": limit}, "PATCH")
    assert answer.status_code == 400
    assert list(answer.json()) == ["device_limit"]
    person.refresh_from_db()
    assert person.device_limit == 7
