"""Resellers over REST: the owner's bot gives subscribers to them, and their quotas hold there too."""

from typing import Any

import pytest
from django.contrib.auth.models import Group as Role
from django.contrib.auth.models import User
from django.test import Client

from operations.api.authentication import create_api_key
from subscriptions.models import Group
from tests.subscriptions.api.test_subscribers_api import BULK, URL, listed, once, one, send
from tests.subscriptions.examples import subscriber
from traffic.models import Reseller, Subscriber

pytestmark = pytest.mark.django_db


@pytest.fixture
def ivan() -> Reseller:
    return Reseller.objects.create(name="Ivan", people_limit=2)


def test_a_subscriber_is_sold_by_a_reseller_and_found_by_them(
    manager: Client, ivan: Reseller
) -> None:
    subscriber("other")
    answer = send(manager, URL, {"name": "Ann", "reseller": "Ivan"})
    assert (answer.status_code, answer.json()["reseller"]) == (201, "Ivan")
    assert listed(manager, "reseller=Ivan") == ["Ann"]
    assert send(manager, one(subscriber("x"))).json().get("reseller") is None


def test_a_subscriber_is_moved_and_taken_back(manager: Client, ivan: Reseller) -> None:
    ann = subscriber("ann")
    assert send(manager, one(ann), {"reseller": "Ivan"}, "PATCH").json()["reseller"] == "Ivan"
    assert send(manager, one(ann), {"reseller": None}, "PATCH").json()["reseller"] is None


@pytest.mark.parametrize("name", ["Nobody", "", 5, ["Ivan"], "a\x00b", "x" * 1000])
def test_a_reseller_who_does_not_exist_changes_nothing(manager: Client, name: Any) -> None:
    answer = send(manager, URL, {"reseller": name})
    assert (answer.status_code, list(answer.json())) == (400, ["reseller"])
    assert not Subscriber.objects.exists()


def test_a_quota_is_kept_and_says_so(manager: Client, ivan: Reseller) -> None:
    for number in range(2):
        assert once(manager, f"k{number}", URL, {"reseller": "Ivan"}).status_code == 201
    for _ in range(2):  # what is refused may be tried again
        answer = once(manager, "k2", URL, {"reseller": "Ivan"})
        assert answer.status_code == 400
        assert "The quota of reseller Ivan is used up" in answer.json()["detail"]
    Reseller.objects.update(people_limit=3)
    assert once(manager, "k2", URL, {"reseller": "Ivan"}).status_code == 201


def test_many_are_moved_as_far_as_the_quota_has_room(manager: Client, ivan: Reseller) -> None:
    people = [subscriber(name) for name in ("a", "b", "c")]
    ids = [row.pk for row in people]
    answer = send(manager, BULK, {"action": "change", "ids": ids, "reseller": "Ivan"}).json()
    assert [row["status"] for row in answer["results"]] == [200, 200, 400]
    assert "Ivan" in answer["results"][2]["errors"]["detail"]
    assert Subscriber.objects.filter(reseller=ivan).count() == 2


def test_nothing_is_done_twice_where_a_quota_refuses_some(manager: Client) -> None:
    """Restarting the period of a subscriber who has used something takes more of the quota."""
    seller = Reseller.objects.create(name="Olga", data_limit=100)
    people = [subscriber(name, reseller=seller, data_limit=40) for name in ("a", "b")]
    ids = [row.pk for row in people]
    body = {"action": "change", "ids": ids, "data_limit": 60}
    answer = send(manager, BULK, body).json()
    assert [row["status"] for row in answer["results"]] == [200, 400]
    assert list(Subscriber.objects.order_by("pk").values_list("data_limit", flat=True)) == [60, 40]


def test_a_key_of_groups_gives_nobody_to_a_reseller(ivan: Reseller) -> None:
    group = Group.objects.create(name="Berlin")
    ann = subscriber("ann")
    group.subscribers.add(ann)
    secret = create_api_key("bot", "manage", None, {"groups": str(group.pk)})[1]
    bot = Client(headers={"authorization": f"Bearer {secret}"})
    for answer in (
        send(bot, URL, {"reseller": "Ivan", "groups": ["Berlin"]}),
        send(bot, one(ann), {"reseller": "Ivan"}, "PATCH"),
        send(bot, BULK, {"action": "change", "ids": [ann.pk], "reseller": "Ivan"}),
    ):
        assert (answer.status_code, list(answer.json())) == (400, ["reseller"])


def test_a_signed_in_reseller_has_no_api(ivan: Reseller) -> None:
    user = User.objects.create_user("ivan", is_staff=True)
    user.groups.add(Role.objects.get(name="operator"))
    Reseller.objects.update(account=user)
    own = subscriber("own", reseller=ivan)
    client = Client()
    client.force_login(user)
    for path in (URL, one(own), "/api/xpert/traffic-stats/global", "/api/xpert/sources"):
        assert client.get(path).status_code == 403
    assert send(client, one(own), {"name": "x"}, "PATCH").status_code == 403
