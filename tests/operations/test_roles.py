"""The groups ``operator`` and ``viewer``, as migrating makes them."""

from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from model_bakery import baker

from tests.traffic.admin_pages import a_subscriber, form_of, url
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db


def permissions(name: str) -> set[str]:
    found = Permission.objects.filter(group__name=name).select_related("content_type")
    return {f"{permission.content_type.app_label}.{permission.codename}" for permission in found}


def member(group: str) -> Client:
    user = baker.make(User, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def test_an_operator_may_do_everything_with_both_apps() -> None:
    assert {
        "traffic.change_subscriber",
        "traffic.view_usage",
        "subscriptions.add_directconfig",
    } <= permissions("operator")


def test_a_viewer_reads_only() -> None:
    found = permissions("viewer")
    assert {
        "traffic.view_subscriber",
        "traffic.view_usage",
        "subscriptions.view_subscriptionhit",
    } <= found
    assert all(permission.partition(".")[2].startswith("view_") for permission in found)


@pytest.mark.parametrize("group", ["operator", "viewer"])
def test_keys_staff_and_the_audit_trail_are_for_superusers(group: str) -> None:
    assert not [
        found
        for found in permissions(group)
        if found.endswith(("apikey", "auditentry")) or found.startswith("auth.")
    ]
    client = member(group)
    for address in (
        "/admin/operations/apikey/",
        "/admin/operations/auditentry/",
        "/admin/auth/user/",
        "/admin/auth/group/",
    ):
        assert client.get(address).status_code == 403


def test_an_operator_changes_a_subscriber() -> None:
    ann = a_subscriber()
    member("operator").post(url("subscriber_change", ann.pk), form_of(ann, name="Anna"))
    assert Subscriber.objects.get().name == "Anna"


def test_a_viewer_sees_figures_and_changes_nothing() -> None:
    ann, client = a_subscriber(), member("viewer")
    assert client.get("/admin/").context["recent"]
    assert client.get(url("subscriber_changelist")).status_code == 200
    assert (
        client.post(url("subscriber_change", ann.pk), form_of(ann, name="Anna")).status_code == 403
    )


def test_a_removed_permission_is_not_restored() -> None:
    group = Group.objects.get(name="operator")
    group.permissions.remove(Permission.objects.get(codename="delete_subscriber"))
    call_command("migrate", verbosity=0)
    assert "traffic.delete_subscriber" not in permissions("operator")


def test_a_model_that_is_new_is_granted() -> None:
    Group.objects.get(name="viewer").permissions.remove(
        Permission.objects.get(codename="view_server")
    )
    call_command("migrate", verbosity=0)
    assert "traffic.view_server" in permissions("viewer")


def hand_out_links() -> None:
    """What the migration does to the groups of a panel that is upgraded."""
    migration = import_module("traffic.migrations.0012_operators_hand_out_links")
    migration.grant(apps, SimpleNamespace(connection=connection))


@pytest.mark.parametrize("is_stored", [True, False])
def test_an_upgrade_lets_operators_hand_out_links(is_stored: bool) -> None:
    permission = Permission.objects.get(codename="hand_out_link")
    permission.group_set.clear()
    if not is_stored:
        permission.delete()
    hand_out_links()
    assert "traffic.hand_out_link" in permissions("operator")
    assert "traffic.hand_out_link" not in permissions("viewer")


def test_an_upgrade_grants_nothing_to_operators_who_may_not_change_subscribers() -> None:
    group = Group.objects.get(name="operator")
    group.permissions.remove(
        *Permission.objects.filter(codename__in=["hand_out_link", "change_subscriber"])
    )
    hand_out_links()
    assert "traffic.hand_out_link" not in permissions("operator")
