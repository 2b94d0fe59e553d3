"""``/api/xpert/templates[/{id}]``."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from operations.models import AuditEntry
from subscriptions.models import Group, Template
from tests.subscriptions.serving.test_templates import JSON, YAML, template

pytestmark = pytest.mark.django_db
TEMPLATES = "/api/xpert/templates"
NEW = {"name": "New", "format": "mihomo", "text": YAML}


@pytest.fixture(autouse=True)
def no_core(settings: Settings) -> None:
    settings.XPERT_CORES = ["off"]


def one(it: Template) -> str:
    return f"{TEMPLATES}/{it.pk}"


def send(client: Client, method: str, path: str, body: Any) -> Any:
    return client.generic(method, path, json.dumps(body), content_type="application/json")


def test_the_list_is_an_array_and_one_is_an_object(manager: Client) -> None:
    it = template()
    (found,) = manager.get(TEMPLATES).json()
    assert found == manager.get(one(it)).json()
    names = ["id", "name", "format", "text", "in_use", "groups", "changed_at", "last_error"]
    assert list(found) == names
    assert (found["text"], found["last_error"]) == (YAML, None)


def test_a_key_of_scope_read_sees_texts_masked(reader: Client) -> None:
    it = template()
    for answer in (reader.get(TEMPLATES), reader.get(one(it))):
        assert "proxy-groups" not in answer.content.decode()
        assert "mode…" in answer.content.decode()
    for method in ("PUT", "PATCH", "DELETE"):
        assert send(reader, method, one(it), NEW).status_code == 403
    assert send(reader, "POST", TEMPLATES, NEW).status_code == 403


def test_one_is_added_changed_and_deleted_and_the_trail_says_so(manager: Client) -> None:
    added = send(manager, "POST", TEMPLATES, NEW)
    assert added.status_code == 201
    assert added.json()["verdict"] == "absent"
    it = Template.objects.get()
    assert not it.in_use
    assert send(manager, "PATCH", one(it), {"in_use": True}).json()["in_use"] is True
    replaced = NEW | {"format": "sing-box", "text": JSON}
    assert send(manager, "PUT", one(it), replaced).json()["format"] == "sing-box"
    assert manager.delete(one(it)).status_code == 204
    found = AuditEntry.objects.filter(target_kind="subscriptions.template").order_by("id")
    assert [entry.action for entry in found] == ["added", "changed", "changed", "deleted"]
    assert "proxy-groups" not in str([entry.changes for entry in found])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "a: ["}, "text"),
        ({"text": "a: b"}, "text"),
        ({"text": 5}, "text"),
        ({"format": "clash"}, "format"),
        ({"format": "xray"}, "text"),
        ({"name": ""}, "name"),
        ({"name": "taken"}, "name"),
        ({"in_use": "yes"}, "in_use"),
        ({"groups": "Berlin"}, "groups"),
        ({"groups": ["Nowhere"]}, "groups"),
        ({"groups": [5]}, "groups"),
        ({"groups": None}, "groups"),
    ],
)
def test_a_bad_field_is_named_and_nothing_changes(
    manager: Client, body: dict[str, Any], field: str
) -> None:
    template(name="taken")
    it = template(name="it", in_use=False)
    answer = send(manager, "PATCH", one(it), body)
    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert send(manager, "POST", TEMPLATES, NEW | body).status_code == 400
    assert Template.objects.count() == 2
    assert Template.objects.get(pk=it.pk).text == YAML


def test_a_change_ends_a_failure(manager: Client) -> None:
    it = template(failed_at="2026-01-01T00:00:00Z", failure="bad_yaml")
    assert manager.get(one(it)).json()["last_error"] == "bad_yaml"
    assert send(manager, "PATCH", one(it), {"text": YAML}).json()["last_error"] is None


def test_putting_one_to_use_switches_off_the_other(manager: Client) -> None:
    first = template(name="first")
    send(manager, "POST", TEMPLATES, NEW | {"in_use": True})
    first.refresh_from_db()
    assert not first.in_use


def test_a_template_is_limited_to_groups_by_their_names(manager: Client) -> None:
    berlin = Group.objects.create(name="Berlin")
    Group.objects.create(name="Vienna")
    added = send(manager, "POST", TEMPLATES, NEW | {"groups": ["Berlin"]})
    assert (added.status_code, added.json()["groups"]) == (201, ["Berlin"])
    it = Template.objects.get()
    assert list(it.groups.all()) == [berlin]
    assert manager.get(TEMPLATES).json()[0]["groups"] == ["Berlin"]
    both = ["Vienna", "Berlin", "Berlin"]
    assert send(manager, "PATCH", one(it), {"groups": both}).json()["groups"] == sorted(set(both))
    assert send(manager, "PUT", one(it), NEW).json()["groups"] == ["Berlin", "Vienna"]
    assert send(manager, "PATCH", one(it), {"groups": []}).json()["groups"] == []
    trail = AuditEntry.objects.filter(action="changed").order_by("id")
    assert [entry.changes.get("groups") for entry in trail] == [
        [["Berlin"], ["Berlin", "Vienna"]],
        [["Berlin", "Vienna"], []],
    ]


def test_a_template_for_groups_stays_in_use_beside_that_for_everybody(manager: Client) -> None:
    Group.objects.create(name="Berlin")
    everybody = template(name="everybody")
    limited = NEW | {"in_use": True, "groups": ["Berlin"]}
    it = Template.objects.get(pk=send(manager, "POST", TEMPLATES, limited).json()["id"])
    everybody.refresh_from_db()
    assert everybody.in_use
    send(manager, "PATCH", one(it), {"groups": []})
    everybody.refresh_from_db()
    assert not everybody.in_use


def test_the_groups_of_many_templates_cost_one_query(
    manager: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        template(name=f"T{number}").groups.add(Group.objects.create(name=f"G{number}"))
    with django_assert_max_num_queries(8):
        manager.get(TEMPLATES)


@pytest.mark.parametrize("pk", ["999999", "x", "0", "99999999999999999999"])
def test_an_unknown_one_is_404(manager: Client, pk: str) -> None:
    assert manager.get(f"{TEMPLATES}/{pk}").status_code == 404


def test_staff_see_the_text_when_they_may_change_it(
    staff: Callable[..., Client],
) -> None:
    template()
    assert (
        "proxy-groups" in staff("view_template", "change_template").get(TEMPLATES).content.decode()
    )
