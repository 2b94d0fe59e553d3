"""Devices on the subscriber's page of the admin."""

import html
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from model_bakery import baker

from operations.models import AuditEntry
from subscriptions.models import Device
from tests.subscriptions.examples import subscriber
from traffic.models import Plan, Subscriber

pytestmark = pytest.mark.django_db


def a_device(person: Subscriber, model: str, **fields: Any) -> Device:
    now = timezone.now()
    device: Device = baker.make(
        Device, subscriber=person, model=model, first_seen=now, last_seen=now, **fields
    )
    return device


def page(client: Client, person: Subscriber) -> str:
    answer = client.get(f"/admin/traffic/subscriber/{person.pk}/usage/")
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def forget(client: Client, person: Subscriber, query: str = "") -> Any:
    return client.post(f"/admin/traffic/subscriber/{person.pk}/forget_device/{query}")


def test_without_limit_and_devices_the_page_says_nothing_of_them(admin_client: Client) -> None:
    assert "Devices" not in page(admin_client, subscriber())


def test_the_page_shows_devices_and_which_are_beyond_the_limit(admin_client: Client) -> None:
    person = subscriber(device_limit=1)
    a_device(person, "Pixel 8", system="Android", system_version="14", app="happ")
    a_device(person, "iPhone")
    shown = page(admin_client, person)
    assert "2 of 1" in shown
    for text in ("Pixel 8", "Android 14", "happ", "can be forged"):
        assert text in shown
    assert shown.count("beyond the limit") == 1


def test_names_of_devices_are_escaped(admin_client: Client) -> None:
    person = subscriber(device_limit=1)
    a_device(person, "<script>x</script>")
    answer = admin_client.get(f"/admin/traffic/subscriber/{person.pk}/usage/")
    assert b"<script>x</script>" not in answer.content


def test_one_is_forgotten_and_the_others_stay(admin_client: Client) -> None:
    person = subscriber(device_limit=2)
    gone, stays = a_device(person, "Pixel 8"), a_device(person, "iPhone")
    query = f"?device={gone.pk}"
    asked = admin_client.get(f"/admin/traffic/subscriber/{person.pk}/forget_device/{query}")
    assert "Forget the device: Pixel 8" in asked.content.decode()
    assert forget(admin_client, person, query).status_code == 302
    assert list(Device.objects.all()) == [stays]
    entry = AuditEntry.objects.get(action="device forgotten")
    assert (entry.target_id, entry.changes) == (person.pk, {"device": ["Pixel 8", None]})


def test_all_are_forgotten_and_those_of_others_stay(admin_client: Client) -> None:
    person, other = subscriber(device_limit=2), subscriber("other", device_limit=1)
    a_device(person, "Pixel 8")
    a_device(person, "iPhone")
    stays = a_device(other, "iPad")
    assert forget(admin_client, person).status_code == 302
    assert list(Device.objects.all()) == [stays]
    assert AuditEntry.objects.filter(action="device forgotten").count() == 2


def test_a_device_of_somebody_else_is_not_found(admin_client: Client) -> None:
    person, other = subscriber(device_limit=1), subscriber("other", device_limit=1)
    theirs = a_device(other, "iPad")
    assert forget(admin_client, person, f"?device={theirs.pk}").status_code == 404
    assert Device.objects.exists()


def test_whoever_may_only_view_forgets_none(client: Client, django_user_model: type[User]) -> None:
    viewer = django_user_model.objects.create_user("eva", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_subscriber"))
    client.force_login(viewer)
    person = subscriber(device_limit=1)
    a_device(person, "Pixel 8")
    assert "Forget" not in page(client, person)
    assert forget(client, person).status_code == 403
    assert Device.objects.exists()


@pytest.mark.parametrize(("devices", "stored"), [("1", 1), ("100", 100), ("", None)])
def test_the_form_of_a_plan_takes_a_limit(
    admin_client: Client, devices: str, stored: int | None
) -> None:
    form = {"name": "Month", "limit_reset": "never", "reset_day": "1", "reset_days": "30"}
    admin_client.post("/admin/traffic/plan/add/", form | {"device_limit": devices})
    assert Plan.objects.get().device_limit == stored


@pytest.mark.parametrize("devices", ["0", "101", "two"])
def test_a_limit_that_cannot_be_is_refused(admin_client: Client, devices: str) -> None:
    form = {"name": "Month", "limit_reset": "never", "reset_day": "1", "reset_days": "30"}
    answer = admin_client.post("/admin/traffic/plan/add/", form | {"device_limit": devices})
    assert "device_limit" in answer.context["adminform"].form.errors
    assert not Plan.objects.exists()


def test_a_new_subscriber_gets_the_limit_of_the_plan(admin_client: Client) -> None:
    plan = Plan.objects.create(name="Month", device_limit=3)
    form = {"plan": plan.pk, "name": "Ann", "token": "a-new-token-1", "limit_reset": "never"}
    admin_client.post("/admin/traffic/subscriber/add/", form)
    assert Subscriber.objects.get().device_limit == 3


def test_a_token_changed_by_hand_forgets_the_devices(admin_client: Client) -> None:
    person = subscriber(device_limit=1)
    a_device(person, "Pixel 8")
    form = {"token": "another-token-1", "limit_reset": "never", "device_limit": "1"}
    admin_client.post(f"/admin/traffic/subscriber/{person.pk}/change/", form)
    person.refresh_from_db()
    assert person.token == "another-token-1"
    assert not Device.objects.exists()
