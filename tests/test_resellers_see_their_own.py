"""Every address of the panel, asked for by a reseller: another's subscriber is nowhere, and nothing of the panel's."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from operations.audit import By
from subscriptions.models import Device, SubscriptionHit
from subscriptions.sources import refreshing
from tests.one_of_each import one_of_each, pages
from tests.routes import Route, routes
from traffic.models import Correction, KnownAs, NextPlan, Plan, Reseller, Subscriber
from traffic.people import changes, resellers

pytestmark = pytest.mark.django_db
LIST = "/admin/traffic/subscriber/"
# Of the other reseller's subscriber, and of what is the panel's own.
SECRETS = (
    "Анна",
    "Анечка",
    "long-token-of-anna",
    "Берлин",
    "Пиксель",
    "Дежурный",
    "Друзья",
    "Olga",
)
# Pages without a subscriber that every member of the staff may open, and those of resellers.
OPEN = {
    "admin:index", "admin:second_factor", "admin:password_change", "admin:password_change_done", "admin:login", "admin:search", "admin:jsi18n",
    "admin:app_list", "admin:traffic_subscriber_add", "admin:traffic_subscriber_import", "admin:traffic_subscriber_bill",
    "admin:traffic_subscriber_changelist",
}  # fmt: skip


class Sellers(NamedTuple):
    """Two resellers, Ivan who asks, and Olga to whom Anna belongs."""

    ivan: Client
    own: Subscriber
    anna: Subscriber
    objects: dict[str, Any]


@pytest.fixture
def sellers(monkeypatch: pytest.MonkeyPatch) -> Sellers:
    monkeypatch.setattr(refreshing, "refresh_soon", lambda pks: None)
    objects = one_of_each(User.objects.create_superuser("ева", password="right"))
    anna = objects["traffic_subscriber"]
    client = Client()
    account = User.objects.create_user("ivan", is_staff=True)
    account.groups.add(Group.objects.get(name="operator"))
    client.force_login(account)
    ivan = Reseller.objects.create(name="Ivan", account=account)
    olga = Reseller.objects.create(name="Olga")
    changes.edit([anna.pk], {"reseller": olga}, By("ева", timezone.now()))
    own = Subscriber.objects.create(name="Boris", token="token-of-boris-123", reseller=ivan)
    anna.refresh_from_db()
    return Sellers(client, own, anna, objects)


def addresses(objects: dict[str, Any]) -> Iterator[Route]:
    """Of the admin and of the API, with Anna wherever a subscriber is named."""
    yield from pages(objects)
    anna = objects["traffic_subscriber"]
    values: dict[str, Any] = dict.fromkeys(
        ("object_id", "id", "pk", "port", "content_type_id", "device"), anna.pk
    )
    values |= {"user_token": "x", "server": "vpn0.example.com", "app_label": "traffic", "key": "x"}
    values |= {"name": "list", "kind": "csv", "folder": "sub", "token": "x" * 20, "rest": ""}
    yield from (
        route
        for route in routes(values)
        if not route.name.startswith("admin:") or "_export" in route.name
    )


def test_no_address_shows_another_resellers_subscriber(sellers: Sellers) -> None:
    shown = []
    for route in addresses(sellers.objects):
        for method in ("get", "post"):
            if route.name == "admin:logout":
                continue
            kind = {"content_type": "application/json"} if "/api/" in route.url else {}
            answer = getattr(sellers.ivan, method)(route.url, **kind)
            content = b"".join(answer).decode(errors="replace")
            shown += [(method, route.url, word) for word in SECRETS if word in content]
    assert shown == []


def test_only_pages_of_their_own_open(sellers: Sellers) -> None:
    opened = {
        route.name
        for route in pages(sellers.objects)
        if sellers.ivan.get(route.url).status_code == 200
    }
    assert opened <= OPEN


def test_pages_of_another_resellers_subscriber_are_not_found(sellers: Sellers) -> None:
    found = {
        route.name: sellers.ivan.get(route.url).status_code
        for route in pages({**sellers.objects})
        if route.name.startswith("admin:traffic_subscriber_")
        and f"/{sellers.anna.pk}/" in route.url
    }
    assert len(found) > 15
    # Django's own pages go back to the list, where nothing is said of what is there.
    assert set(found.values()) <= {302, 403, 404, 405}


@pytest.mark.parametrize(
    "query", ["", "?q=анн", "?q=long-token-of-ann", "?shown=deleted", "?all=1"]
)
def test_the_list_and_its_downloads_hold_their_own_alone(query: str, sellers: Sellers) -> None:
    changes.hide(
        Subscriber, [sellers.anna.pk], By("ева", timezone.now())
    ) if "deleted" in query else None
    for address in (
        LIST,
        f"{LIST}export/list.json",
        f"{LIST}export/import.csv",
        f"{LIST}export/days-30.csv",
    ):
        content = b"".join(sellers.ivan.get(address + query)).decode()
        assert not [word for word in SECRETS if word in content]


@pytest.mark.parametrize(
    "query",
    [
        "server=1",
        "group=1",
        "reseller=2",
        "token__startswith=l",
        "reseller__name=Olga",
        "plan__name=x",
    ],
)
def test_filters_of_the_panel_are_closed(query: str, sellers: Sellers) -> None:
    answer = sellers.ivan.get(f"{LIST}?{query}")
    assert (answer.status_code, answer["Location"]) == (302, f"{LIST}?e=1")


def test_the_search_and_the_choice_of_a_subscriber_find_their_own_alone(sellers: Sellers) -> None:
    search = sellers.ivan.get("/admin/search/?s=о&extended=1").content.decode()
    choice = sellers.ivan.get(
        "/admin/autocomplete/?app_label=traffic&model_name=serverlimit&field_name=subscriber"
    ).json()
    assert [found["text"] for found in choice["results"]] == ["Boris"]
    assert "Анна" not in search
    assert "Boris" in sellers.ivan.get("/admin/search/?s=boris&extended=1").content.decode()


ACTIONS = {
    "renew": {}, "apply_plan": {"plan": "1"}, "next_plan": {"plan": "1", "begins": "term"}, "extend": {"days": "5"},
    "restart": {}, "switch_on": {}, "switch_off": {}, "set_limit": {"data_limit": "1 GB"},
    "set_reset": {"limit_reset": "daily", "reset_day": "1", "reset_days": "1"}, "add_note": {"line": "x"},
    "renew_token": {}, "delete_selected": {}, "bring_back": {}, "set_groups": {}, "set_reseller": {"reseller": ""},
}  # fmt: skip


@pytest.mark.parametrize("across", ["0", "1"])
@pytest.mark.parametrize("name", ACTIONS)
def test_no_action_changes_another_resellers_subscriber(
    name: str, across: str, sellers: Sellers
) -> None:
    plan = Plan.objects.get()
    told = ACTIONS[name] | ({"plan": str(plan.pk)} if "plan" in ACTIONS[name] else {})
    before = Subscriber.objects.filter(pk=sellers.anna.pk).values().get()
    chosen = {
        "action": name,
        "_selected_action": str(sellers.anna.pk),
        "select_across": across,
        "post": "yes",
    }
    sellers.ivan.post(LIST, chosen | told)
    assert Subscriber.objects.filter(pk=sellers.anna.pk).values().get() == before
    assert not NextPlan.objects.filter(subscriber=sellers.anna).exists()
    assert sellers.anna.subscription_groups.count() == 1


@pytest.mark.parametrize(
    "name", ["correct", "undo", "name", "forget_name", "history", "set_reseller"]
)
def test_what_is_the_owners_is_closed_for_their_own_too(name: str, sellers: Sellers) -> None:
    assert sellers.ivan.get(f"{LIST}{sellers.own.pk}/{name}/").status_code == 403
    assert sellers.ivan.post(LIST, {"action": name, "_selected_action": str(sellers.own.pk)})
    assert not Correction.objects.exists()


def test_their_own_page_shows_nothing_of_the_panel(sellers: Sellers) -> None:
    """Also when the subscriber came from another reseller."""
    changes.edit([sellers.anna.pk], {"reseller": sellers.own.reseller}, By("ева", timezone.now()))
    page = sellers.ivan.get(f"{LIST}{sellers.anna.pk}/usage/").content.decode()
    assert "Анна" in page
    assert KnownAs.objects.filter(subscriber=sellers.anna).exists()
    assert SubscriptionHit.objects.filter(subscriber=sellers.anna).exists()
    hidden = (
        "Анечка",
        "Olga",
        "ева",
        "meter-1",
        "Друзья",
        "/admin/traffic/server/",
        "/correct/",
        "/name/",
    )
    assert [word for word in hidden if word in page] == []


def test_devices_of_their_own_are_forgotten(sellers: Sellers) -> None:
    changes.edit([sellers.anna.pk], {"reseller": sellers.own.reseller}, By("ева", timezone.now()))
    page = f"{LIST}{sellers.anna.pk}/"
    assert "Пиксель" in sellers.ivan.get(f"{page}usage/").content.decode()
    assert sellers.ivan.post(f"{page}forget_device/").status_code == 302
    assert not Device.objects.exists()


def test_the_first_screen_counts_their_own_alone(sellers: Sellers) -> None:
    answer = sellers.ivan.get(reverse("admin:index"))
    assert answer.context["states"].active == 1
    assert "attention" not in answer.context
    assert "cards" not in answer.context
    assert b"Ivan" in answer.content


def test_the_month_holds_their_own_alone(sellers: Sellers) -> None:
    for query in ("", "?file=csv"):
        content = b"".join(sellers.ivan.get(f"{LIST}bill/{query}")).decode()
        assert "Анна" not in content
    changes.edit([sellers.anna.pk], {"reseller": sellers.own.reseller}, By("ева", timezone.now()))
    assert "Анна" in sellers.ivan.get(f"{LIST}bill/").content.decode()


def test_a_removed_reseller_is_an_account_like_others(sellers: Sellers) -> None:
    """Its groups count again, so the form offers only accounts without any."""
    Reseller.objects.filter(name="Ivan").delete()
    user = User.objects.get(username="ivan")
    assert resellers.of(user) is None
