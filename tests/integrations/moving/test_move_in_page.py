"""The page *Move in* beside the list of subscribers."""

import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from model_bakery import baker
from time_machine import travel

from integrations.moving.admin import forms, move_in_page
from operations.models import AuditEntry
from tests.integrations.moving.conftest import URL
from tests.integrations.moving.conftest import OldPanel as There
from tests.integrations.moving.old_databases import client as a_client
from tests.integrations.moving.old_databases import marzban, three_x_ui
from tests.traffic.examples import GB
from traffic.models import Subscriber

pytestmark = pytest.mark.django_db

PAGE = "/admin/traffic/subscriber/move-in/"


@pytest.fixture
def operator() -> User:
    found: User = baker.make(User, username="ada", is_staff=True)
    names = ["view_subscriber", "add_subscriber"]
    found.user_permissions.set(Permission.objects.filter(codename__in=names))
    return found


@pytest.fixture
def admin(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


def sent(admin: Client, path: Path, kind: str = "marzban", **more: Any) -> str:
    """The page after a database was uploaded."""
    file = SimpleUploadedFile("db.sqlite3", path.read_bytes())
    return admin.post(PAGE, {"kind": kind, "file": file, **more}).content.decode()


def people(page: str) -> str:
    found = re.search(r'name="people" value="([^"]+)"', page)
    assert found, page
    return unescape(found[1])


def text(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_an_upload_shows_who_would_move_in_and_makes_nobody(admin: Client, tmp_path: Path) -> None:
    Subscriber.objects.create(name="bob")
    users: list[dict[str, Any]] = [{"data_limit": 50 * GB, "used_traffic": GB}, {"username": "bob"}]
    page = text(sent(admin, marzban(tmp_path / "db", users)))
    assert "1 person would move in from Marzban" in page
    assert "alice active 1.00 GB 50.00 GB never never old ones work" in page
    assert "1 person is left out bob : a subscriber has this name already" in page
    assert Subscriber.objects.count() == 1


def test_what_is_different_here_is_told(admin: Client, tmp_path: Path) -> None:
    old = three_x_ui(tmp_path / "db", [a_client("anna", reset=30)])
    page = text(sent(admin, old, kind="3x-ui"))
    assert "Different here anna : renews by itself there, and ends here" in page


def test_when_confirmed_they_move_in_and_the_audit_trail_names_the_operator(
    admin: Client, tmp_path: Path
) -> None:
    page = sent(admin, marzban(tmp_path / "db", [{"used_traffic": GB}]))
    answer = admin.post(PAGE, {"people": people(page)}, follow=True)
    assert "1 person has moved in." in text(answer.content.decode())
    alice = Subscriber.objects.get()
    assert (alice.name, alice.balance.period_download) == ("alice", GB)
    authors = AuditEntry.objects.filter(target_kind="traffic.subscriber")
    assert set(authors.values_list("author", flat=True)) == {"ada"}


def test_confirmed_twice_nobody_is_there_twice(admin: Client, tmp_path: Path) -> None:
    found = people(sent(admin, marzban(tmp_path / "db", [{}])))
    admin.post(PAGE, {"people": found})
    answer = admin.post(PAGE, {"people": found}, follow=True)
    assert "Nothing new: everybody who can move in has done so before." in text(
        answer.content.decode()
    )
    assert Subscriber.objects.count() == 1


def test_the_form_holds_no_token_and_no_secret_in_the_clear(admin: Client, tmp_path: Path) -> None:
    page = sent(admin, three_x_ui(tmp_path / "db", [a_client("anna")]), kind="3x-ui")
    assert "anna" in page
    assert "sub-of-anna" not in page


@pytest.mark.parametrize("found", ["", "x" * 200, "changed"])
def test_people_that_are_not_from_the_preview_are_refused(
    admin: Client, tmp_path: Path, found: str
) -> None:
    if found == "changed":
        found = people(sent(admin, marzban(tmp_path / "db", [{}])))
        found = found[:50] + ("A" if found[50] != "A" else "B") + found[51:]
    answer = admin.post(PAGE, {"people": found}, follow=True)
    assert "Nobody was moved in: show the people again." in text(answer.content.decode())
    assert not Subscriber.objects.exists()


def test_somebody_elses_preview_and_an_old_one_are_refused(admin: Client, tmp_path: Path) -> None:
    found = people(sent(admin, marzban(tmp_path / "db", [{}])))
    other = Client()
    other.force_login(baker.make(User, username="eve", is_staff=True, is_superuser=True))
    other.post(PAGE, {"people": found})
    assert not Subscriber.objects.exists()
    with travel(timezone.now() + timedelta(seconds=move_in_page._KEPT + 10)):
        admin.force_login(User.objects.get(username="ada"))
        admin.post(PAGE, {"people": found})
    assert not Subscriber.objects.exists()


def test_it_needs_the_permission_to_add_subscribers(admin: Client, operator: User) -> None:
    operator.user_permissions.set(Permission.objects.filter(codename="view_subscriber"))
    assert admin.get(PAGE).status_code == 403
    assert admin.post(PAGE, {"people": "x"}).status_code == 403
    assert PAGE not in admin.get(reverse("admin:traffic_subscriber_changelist")).content.decode()


def test_the_list_of_subscribers_leads_to_it(admin: Client) -> None:
    assert PAGE in admin.get(reverse("admin:traffic_subscriber_changelist")).content.decode()


def test_a_running_panel_is_read_and_its_password_is_not_in_the_page(
    admin: Client, there: There
) -> None:
    there.answers["/api/users"] = [
        {"username": "alice", "status": "active", "data_limit_reset_strategy": "no_reset"}
    ]
    fields = {"kind": "marzban", "url": URL, "username": "admin", "password": "s3cr3t"}
    page = admin.post(PAGE, fields).content.decode()
    assert "alice active 0 B unlimited never never new" in text(page)
    assert "s3cr3t" not in page


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "Choose either a file or an address."),
        ({"url": "http://10.0.0.5", "username": "a"}, "Plain http is allowed"),
        ({"url": "https://10.0.0.5", "username": "a"}, "The host is at a private address"),
        ({"url": "https://nowhere.example.com", "username": "a"}, "The host name was not found."),
        ({"url": "https://panel.example.com"}, "read with a user name and a password"),
    ],
)
def test_what_cannot_be_read_is_told(
    admin: Client, there: There, fields: dict[str, str], message: str
) -> None:
    answer = admin.post(PAGE, {"kind": "marzban", **fields})
    assert message in text(answer.content.decode())
    assert there.asked == []


def test_a_file_that_is_no_database_is_told(admin: Client, tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"hello" * 100)
    assert "The file is not an SQLite database." in text(sent(admin, tmp_path / "db"))


def test_another_panel_under_the_same_name_is_told(admin: Client, tmp_path: Path) -> None:
    found = people(sent(admin, marzban(tmp_path / "one", [{}])))
    admin.post(PAGE, {"people": found})
    other = marzban(tmp_path / "two", [{"username": "bob"}], secret="0" * 64)
    assert "Give this one a name of its own." in text(sent(admin, other))
    assert "1 person would move in from Berlin" in text(sent(admin, other, name="Berlin"))


def test_too_large_a_file_and_too_many_people_are_for_the_command(
    admin: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = marzban(tmp_path / "db", [{}])
    size = old.stat().st_size
    monkeypatch.setattr(forms, "MAX_BYTES", size)
    assert "would move in" in text(sent(admin, old))
    monkeypatch.setattr(forms, "MAX_BYTES", size - 1)
    assert "too large for this page" in text(sent(admin, old))
    monkeypatch.setattr(forms, "MAX_BYTES", size)
    monkeypatch.setattr(move_in_page, "_MAX_SEALED", 10)
    assert "too many people for this page" in text(sent(admin, old))


def test_ten_thousand_people_fit_the_page(admin: Client, tmp_path: Path) -> None:
    users = [{"username": f"user{number}", "used_traffic": number} for number in range(10_000)]
    page = sent(admin, marzban(tmp_path / "db", users))
    assert "and 9950 more" in text(page)
    admin.post(PAGE, {"people": people(page)})
    assert Subscriber.objects.count() == 10_000
