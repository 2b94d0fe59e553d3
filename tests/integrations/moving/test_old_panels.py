"""The list of panels from which people have moved in, and forgetting the secrets of their links."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.utils import timezone
from model_bakery import baker
from pytest_django import Settings

from integrations.moving import old_links
from integrations.moving.models import OldPanel
from operations import sealing
from operations.models import AuditEntry
from tests.integrations.moving.old_databases import SECRET, marzban
from tests.integrations.moving.test_old_links import LATER, _move_in, hashed
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

LIST = "/admin/moving/oldpanel/"


@pytest.fixture
def operator(client: Client) -> Client:
    ada = User.objects.create_user("ada", is_staff=True)
    ada.groups.add(Group.objects.get(name="operator"))
    client.force_login(ada)
    return client


@pytest.fixture
def berlin(tmp_path: Path) -> OldPanel:
    """Alice has moved in from there."""
    _move_in("marzban", marzban(tmp_path / "db", [{}]), "--name", "Berlin")
    return OldPanel.objects.get()


def test_the_list_tells_whether_old_links_work(
    operator: Client, berlin: OldPanel, settings: Settings
) -> None:
    baker.make(OldPanel, name="Vienna", kind="3x-ui", added_at=timezone.now())
    page = operator.get(LIST).content.decode()
    assert all(text in page for text in ("Berlin", "work", "Vienna", "no secret"))
    settings.SECRET_KEY = "another" * 10
    operator.force_login(User.objects.get(username="ada"))
    assert "SECRET_KEY has changed: move in again" in operator.get(LIST).content.decode()


def test_a_forgotten_secret_ends_old_links_and_moves_nobody(
    operator: Client, berlin: OldPanel
) -> None:
    alice = Subscriber.objects.get()
    assert old_links.own_token(hashed(f"alice,{LATER}")) == alice.token
    assert "Links that the panel has signed stop working" in (
        operator.get(f"{LIST}{berlin.pk}/forget/").content.decode()
    )
    assert operator.post(f"{LIST}{berlin.pk}/forget/").status_code == 302
    assert OldPanel.objects.get().sealed_secret == ""
    assert old_links.own_token(hashed(f"alice,{LATER}")) is None
    assert berlin.accounts.get().subscriber == alice
    assert f"{berlin.pk}/forget/" not in operator.get(f"{LIST}{berlin.pk}/change/").content.decode()


def test_many_are_forgotten_at_once_and_only_those_with_a_secret_are_counted(
    operator: Client, berlin: OldPanel
) -> None:
    empty = baker.make(OldPanel, name="Vienna", kind="3x-ui", added_at=timezone.now())
    chosen = {"action": "forget", "post": "yes", "_selected_action": [berlin.pk, empty.pk]}
    page = operator.post(LIST, chosen, follow=True).content.decode()
    assert "The secret of 1 panel is forgotten." in page
    history = AuditEntry.objects.filter(target_kind="moving.oldpanel", author="ada")
    assert [(entry.target_name, entry.action) for entry in history] == [("Berlin", "changed")]


def test_neither_page_nor_history_shows_the_secret(operator: Client, berlin: OldPanel) -> None:
    sealed = berlin.sealed_secret
    operator.post(f"{LIST}{berlin.pk}/forget/")
    for path in (LIST, f"{LIST}{berlin.pk}/change/", f"{LIST}{berlin.pk}/history/"):
        page = operator.get(path).content.decode()
        assert SECRET not in page
        assert sealed[:8] not in page
    assert SECRET not in str(list(AuditEntry.objects.values()))


def test_moving_in_again_brings_the_links_back(
    operator: Client, berlin: OldPanel, tmp_path: Path
) -> None:
    operator.post(f"{LIST}{berlin.pk}/forget/")
    _move_in("marzban", marzban(tmp_path / "again", [{}]), "--name", "Berlin")
    assert old_links.own_token(hashed(f"alice,{LATER}")) == Subscriber.objects.get().token


def test_a_viewer_forgets_nothing(client: Client, berlin: OldPanel) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)
    assert "Forget" not in client.get(f"{LIST}{berlin.pk}/change/").content.decode()
    assert client.post(f"{LIST}{berlin.pk}/forget/").status_code == 403
    assert sealing.unseal(OldPanel.objects.get().sealed_secret) == SECRET


def test_the_list_asks_the_database_no_more_for_more_panels(
    operator: Client, django_assert_max_num_queries: object
) -> None:
    baker.make(OldPanel, 20, kind="3x-ui", added_at=timezone.now(), name=iter(map(str, range(20))))
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        operator.get(LIST)


def test_an_upgrade_lets_operators_forget_secrets() -> None:
    permission = Permission.objects.get(codename="change_oldpanel")
    permission.group_set.clear()
    migration = import_module("integrations.moving.migrations.0002_forgetting_secrets")
    migration.grant(apps, SimpleNamespace(connection=connection))
    assert [group.name for group in permission.group_set.all()] == ["operator"]
