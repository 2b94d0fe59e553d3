"""Permissions in the admin: viewing does not allow changes, and every change is a POST with a CSRF token."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from model_bakery import baker

from operations.api.authentication import create_api_key
from operations.models import ApiKey
from tests.traffic.admin_pages import (
    a_subscriber,
    act,
    form_of,
    listed,
    operator,
    staff,
    text_of,
    url,
)
from tests.traffic.examples import GB, a_report, stored
from traffic.models import Server, Subscriber

pytestmark = pytest.mark.django_db

MODELS = ("subscriber", "server", "apikey")
PAGES = {
    "subscriber": (
        "change",
        "usage",
        "delete",
        "history",
        "extend",
        "restart",
        "switch_off",
        "renew_token",
        "correct",
    ),
    "server": ("change", "usage", "delete", "history"),
    "apikey": ("change", "revoke", "history"),
}
CHANGES = {
    "subscriber": (
        "extend",
        "restart",
        "switch_on",
        "switch_off",
        "renew_token",
        "correct",
        "delete",
        "bring_back",
    ),
    "server": ("delete", "bring_back"),
    "apikey": ("revoke",),
}


@pytest.fixture
def objects() -> dict[str, Any]:
    """One object of each kind, with some usage."""
    subscriber = a_subscriber(token="a-token-of-some-length", data_limit=50 * GB, note="x")
    stored(a_report(user_token=subscriber.token))
    return {
        "subscriber": subscriber,
        "server": Server.objects.get(),
        "apikey": create_api_key("billing", "read")[0],
    }


def unchanged(objects: dict[str, Any]) -> bool:
    return all(
        type(found)._default_manager.filter(pk=found.pk).values().get()
        == {field.attname: getattr(found, field.attname) for field in found._meta.concrete_fields}
        for found in objects.values()
    )


@pytest.mark.parametrize("model", MODELS)
def test_strangers_are_sent_to_sign_in(model: str, objects: dict[str, Any]) -> None:
    addresses = [
        url(f"{model}_changelist"),
        *(url(f"{model}_{page}", objects[model].pk) for page in PAGES[model]),
    ]
    for address in addresses:
        for answer in (Client().get(address), Client().post(address)):
            assert answer.status_code == 302
            assert answer["Location"].startswith("/admin/login/")
    assert unchanged(objects)


@pytest.mark.parametrize("model", MODELS)
def test_staff_without_permission_see_nothing(model: str, objects: dict[str, Any]) -> None:
    client = staff()
    for page in PAGES[model]:
        assert client.get(url(f"{model}_{page}", objects[model].pk)).status_code == 403
    assert client.get(url(f"{model}_changelist")).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_users_who_may_view_see_but_cannot_act(model: str, objects: dict[str, Any]) -> None:
    client, found = staff(f"view_{model}"), objects[model]
    page = client.get(url(f"{model}_changelist"))
    assert listed(page) == [str(found)]
    assert 'name="action"' not in page.content.decode()
    assert client.get(url(f"{model}_change", found.pk)).status_code == 200
    assert client.post(url(f"{model}_change", found.pk), {"name": "Eve"}).status_code == 403
    for name in CHANGES[model]:
        assert client.get(url(f"{model}_{name}", found.pk)).status_code == 403
        assert client.post(url(f"{model}_{name}", found.pk), {"post": "yes"}).status_code == 403
        assert (
            url(f"{model}_{name}", found.pk)
            not in client.get(url(f"{model}_change", found.pk)).content.decode()
        )
    for action in ("switch_off", "restart", "revoke", "delete_selected"):
        act(client, model, action, found, post="yes")
    assert unchanged(objects)


def test_users_who_may_view_see_no_token_and_a_limit_in_words(objects: dict[str, Any]) -> None:
    page = staff("view_subscriber").get(url("subscriber_change", objects["subscriber"].pk))
    fields = [
        field for fieldset in page.context["adminform"] for line in fieldset for field in line
    ]
    shown = {field.field["name"]: field.contents() for field in fields if field.is_readonly}
    assert shown["masked_token"] == '<bdi dir="ltr">a-to…</bdi>'
    assert shown["limit"] == '<bdi dir="ltr" title="53,687,091,200 bytes">50.00 GB</bdi>'
    assert "token" not in shown


def test_users_who_may_view_see_that_there_is_no_limit() -> None:
    page = staff("view_subscriber").get(url("subscriber_change", a_subscriber().pk))
    assert "unlimited" in text_of(page)


def test_users_who_may_change_may_not_delete(objects: dict[str, Any]) -> None:
    client = staff("view_subscriber", "change_subscriber")
    assert (
        client.post(url("subscriber_delete", objects["subscriber"].pk), {"post": "yes"}).status_code
        == 403
    )
    act(client, "subscriber", "delete_selected", objects["subscriber"], post="yes")
    assert unchanged(objects)
    client.post(
        url("subscriber_change", objects["subscriber"].pk),
        form_of(objects["subscriber"], name="Eve"),
    )
    assert Subscriber.objects.get().name == "Eve"


def test_users_who_may_only_delete_are_sent_to_the_overview() -> None:
    subscriber = a_subscriber()
    answer = staff("delete_subscriber").post(
        url("subscriber_delete", subscriber.pk), {"post": "yes"}
    )
    assert answer["Location"] == "/admin/"
    assert Subscriber.objects.get().hidden_at


def test_users_who_may_only_add_are_not_sent_to_a_forbidden_page() -> None:
    fields = {"name": "Ann", "token": "ann", "is_active": "on", "limit_reset": "never"}
    answer = staff("add_subscriber").post(url("subscriber_add"), fields, follow=True)
    assert answer.status_code == 200
    assert Subscriber.objects.get().name == "Ann"


@pytest.mark.parametrize("model", MODELS)
def test_looking_changes_nothing(model: str, objects: dict[str, Any], admin_client: Client) -> None:
    for page in PAGES[model]:
        assert admin_client.get(url(f"{model}_{page}", objects[model].pk)).status_code == 200
    assert unchanged(objects)


@pytest.mark.parametrize("model", MODELS)
def test_a_change_needs_a_csrf_token(model: str, objects: dict[str, Any]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(baker.make(User, is_staff=True, is_superuser=True))
    for page in (*CHANGES[model], "change"):
        assert (
            client.post(url(f"{model}_{page}", objects[model].pk), {"post": "yes"}).status_code
            == 403
        )
    chosen = {"action": "switch_off", "_selected_action": [objects[model].pk]}
    assert client.post(url(f"{model}_changelist"), chosen).status_code == 403
    assert unchanged(objects)


@pytest.mark.parametrize(("model", "page"), [("subscriber", "restart"), ("apikey", "revoke")])
def test_a_question_is_answered_by_post_alone(
    model: str, page: str, objects: dict[str, Any], admin_client: Client
) -> None:
    assert admin_client.put(url(f"{model}_{page}", objects[model].pk)).status_code == 405
    assert unchanged(objects)


def test_keys_are_made_by_who_may_add_them() -> None:
    fields = {"name": "billing", "scope": "manage"}
    assert staff("view_apikey", "change_apikey").post(url("apikey_add"), fields).status_code == 403
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    "lookup", ["token__startswith", "token", "name__iregex", "data_limit__gte", "id__iregex"]
)
def test_an_address_narrows_a_list_only_as_the_list_offers(
    lookup: str, objects: dict[str, Any]
) -> None:
    client = staff("view_subscriber")
    for address in (url("subscriber_changelist"), f"{url('subscriber_changelist')}export/list.csv"):
        answer = client.get(address, {lookup: "\\"})
        assert (answer.status_code, answer["Location"][-4:]) == (302, "?e=1")


@pytest.mark.parametrize(
    ("permissions", "term", "is_found"),
    [
        (["view_subscriber"], "a-token-of-some-length", True),
        (["view_subscriber"], "a-token-of-some-lengt", False),
        (["view_subscriber", "change_subscriber"], "a-token-of-some-lengt", True),
        (["view_subscriber"], "Ann", True),
    ],
)
def test_users_who_may_not_see_a_token_cannot_find_it_letter_by_letter(
    permissions: list[str], term: str, is_found: bool, objects: dict[str, Any]
) -> None:
    found = listed(staff(*permissions).get(url("subscriber_changelist"), {"q": term}))
    assert bool(found) == is_found


@pytest.mark.parametrize(
    ("permissions", "told"),
    [
        (["view_subscriber"], "Search by a whole token, or by part of a name or note."),
        (
            ["view_subscriber", "change_subscriber"],
            "Search by the beginning of a token, or by part of a name or note.",
        ),
    ],
)
def test_the_search_says_what_this_person_finds(
    permissions: list[str], told: str, objects: dict[str, Any]
) -> None:
    shown = staff(*permissions).get(url("subscriber_changelist")).content.decode()
    assert f'placeholder="{told}"' in shown


@pytest.mark.parametrize("page", ["user", "group"])
@pytest.mark.parametrize("filters", ["id__in=99999999999999999999999", "id=abc", "e=1"])
def test_a_filter_of_people_typed_by_hand_breaks_nothing(page: str, filters: str) -> None:
    answer = operator().get(f"/admin/auth/{page}/?{filters}", follow=True)
    assert answer.status_code == 200
