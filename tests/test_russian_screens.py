"""No English text on Russian pages: every page of the admin, and its answers to forms."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polib
import pytest
from django.conf import settings as project
from django.contrib import admin
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.template.loader import select_template
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from model_bakery import baker
from pytest_django import Settings

from operations.audit import By
from subscriptions.sources import refreshing
from tests.integrations.moving.old_databases import marzban
from tests.one_of_each import one_of_each, pages
from tests.test_translations import CATALOGUES
from tests.traffic.admin_pages import url
from traffic.models import Subscriber
from traffic.people import changes

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

_SPOKEN = (
    "title",
    "placeholder",
    "aria-label",
    "aria-description",
    "alt",
    "data-copy",
    "data-done",
)
_EMPTY = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_SILENT = {"script", "style", "code", "textarea"}
# Words that occur in no name, address or figure, so a page with one of them shows an English sentence or label.
_ENGLISH = re.compile(
    r"(?<![\w./:=?&@{-])(the|of|and|is|are|was|were|has|have|not|no|yes|none|never|ago|by|in|to|for|from|with|since|until|all|"
    r"add|save|delete|edit|change|search|filters?|select|selected|show|hide|back|next|previous|close|cancel|"
    r"subscribers?|servers?|sources?|users?|groups?|keys?|requests?|reports?|traffic|usage|limit|history|home|"
    r"active|enabled|disabled|expired|unlimited|unknown|empty|error|failed|day|days|hours?|minutes?|bytes?|[KMGT]?B)"
    r"(?![\w/:=@-]|\.\w)",
    re.IGNORECASE,
)


def test_the_button_to_delete_names_no_model() -> None:
    """Russian would have to decline its name."""
    for owner in admin.site._registry.values():
        own = owner.change_form_template
        assert isinstance(own, list | str), owner
        names = list(_extended([own] if isinstance(own, str) else own))
        assert "admin/operations/change_form.html" in names, owner


def _extended(names: list[str]) -> Iterator[str]:
    """The template of these that is there, and all that it extends."""
    source: str = select_template(names).template.source
    yield str(select_template(names).template.name)
    if found := re.match(r'{% extends "([^"]+)" %}', source):
        yield from _extended([found[1]])


class Screen(HTMLParser):
    """``said``: the visible and spoken texts of a page. Icons of the theme are not text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.said += [given[name] for name in _SPOKEN if given.get(name)]
        if tag == "input" and given.get("type") in {"submit", "button", "reset"}:
            self.said.append(given.get("value", ""))
        if tag not in _EMPTY:
            is_silent = (
                tag in _SILENT
                or "material-symbols" in given.get("class", "")
                or given.get("lang") not in (None, "ru")
            )
            self._open.append((tag, is_silent))

    def handle_endtag(self, tag: str) -> None:
        while any(name == tag for name, _ in self._open):
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text and not any(is_silent for _, is_silent in self._open):
            self.said.append(text)


@pytest.fixture(scope="module")
def english() -> set[str]:
    """Every English text whose Russian translation is different."""
    entries = [
        entry for path in CATALOGUES if path.parts[-3] == "ru" for entry in polib.pofile(str(path))
    ]
    return {
        entry.msgid
        for entry in entries
        if entry.msgstr != entry.msgid and re.search(r"[a-z]{3}", entry.msgid)
    }


def left(response: Any, english: set[str]) -> list[str]:
    """English texts on a page."""
    said = Screen(response.content.decode()).said
    return sorted({text for text in said if text in english or _ENGLISH.search(text)})


@pytest.fixture(autouse=True)
def a_russian_panel(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Sets the panel's language, which stored texts use, and prevents fetching."""
    settings.LANGUAGE_CODE = "ru"
    monkeypatch.setattr(refreshing, "refresh_soon", lambda pks: None)


@pytest.fixture
def client() -> Client:
    found = Client(headers={"accept-language": "ru"})
    # The page of an account shows how the salt begins: a random one was "is" or "KB" once in a hundred runs.
    password = make_password("верный", "соль")
    found.force_login(
        baker.make(User, username="ева", password=password, is_staff=True, is_superuser=True)
    )
    return found


@pytest.fixture
def objects(client: Client) -> dict[str, Any]:
    return one_of_each(User.objects.get())


def is_page(response: Any) -> bool:
    return str(response["Content-Type"]).startswith("text/html")


def test_every_page_is_russian(client: Client, objects: dict[str, Any], english: set[str]) -> None:
    found = {route.url: client.get(route.url, follow=True) for route in pages(objects)}
    assert len(found) > 50
    assert {
        url: words
        for url, page in found.items()
        if is_page(page) and (words := left(page, english))
    } == {}


def test_every_answer_to_an_empty_form_is_russian(
    client: Client, objects: dict[str, Any], english: set[str]
) -> None:
    answers = {}
    for route in pages(objects):
        if not route.name.endswith(("_delete", "login")):
            answers[route.url] = client.post(
                route.url, {"name": "", "data_limit": "много", "raw": "ы", "url": "ы"}
            )
    assert {
        url: words
        for url, page in answers.items()
        if is_page(page) and (words := left(page, english))
    } == {}


def test_every_action_asks_and_answers_in_russian(
    client: Client, objects: dict[str, Any], english: set[str]
) -> None:
    found = {}
    for name, obj in objects.items():
        address = reverse(f"admin:{name}_changelist")
        listed = client.get(address).context
        form = (listed.get("action_form") if listed else None) or ()
        for action, _label in form.fields["action"].choices if form else ():
            chosen = {"action": action, "_selected_action": str(obj.pk)}
            if action and not action.startswith("delete"):
                found[address, action, "asks"] = client.post(address, chosen, follow=True)
                sure = {**chosen, "post": "yes", "sure": "yes", "confirmed": "1", "days": "5"}
                found[address, action, "answers"] = client.post(address, sure, follow=True)
    assert len(found) > 20
    assert {
        key: words
        for key, page in found.items()
        if is_page(page) and (words := left(page, english))
    } == {}


@pytest.mark.parametrize(
    "name",
    [
        "traffic_subscriber",
        "traffic_server",
        "subscriptions_directconfig",
        "subscriptions_source",
        "auth_group",
    ],
)
def test_deleting_is_russian(
    name: str, client: Client, objects: dict[str, Any], english: set[str]
) -> None:
    chosen = {"action": "delete_selected", "_selected_action": str(objects[name].pk)}
    address = reverse(f"admin:{name}_changelist")
    asked = client.post(address, chosen, follow=True)
    deleted = client.post(
        reverse(f"admin:{name}_delete", args=[objects[name].pk]), {"post": "yes"}, follow=True
    )
    assert (left(asked, english), left(deleted, english)) == ([], [])


@pytest.mark.parametrize(
    "model", ["subscriptions_directconfig", "subscriptions_source", "subscriptions_group"]
)
def test_the_message_after_saving_is_russian(
    model: str, client: Client, objects: dict[str, Any], english: set[str]
) -> None:
    fields = {
        "name": "Новое", "url": "https://c.example/", "priority": "1", "interval": "60", "is_active": "on",
        "raw": "trojan://other@fast.example.com:443#Прага",
    }  # fmt: skip
    answer = client.post(reverse(f"admin:{model}_add"), fields, follow=True)
    assert "Добавлено:" in answer.content.decode()
    assert left(answer, english) == []


def test_the_history_names_changes_in_russian(client: Client, objects: dict[str, Any]) -> None:
    source = objects["subscriptions_source"]
    fields = {"name": "Иное", "url": source.url, "enabled": "on", "priority": "7", "interval": "99"}
    client.post(reverse("admin:subscriptions_source_change", args=[source.pk]), fields)
    history = client.get(
        reverse("admin:subscriptions_source_history", args=[source.pk])
    ).content.decode()
    for words in ("<td>Изменено</td>", "→ Иное", "приоритет: 100 → 7", "интервал: 60 → 99"):
        assert words in " ".join(history.split())


def test_an_import_is_russian(client: Client, english: set[str]) -> None:
    lines = "name,data_limit,active\nБорис,5 GB,yes\nВера,много,yes\nГлеб,,maybe\n,,\n".encode()
    preview = client.post(url("subscriber_import"), {"file": SimpleUploadedFile("a.csv", lines)})
    assert "Борис" in preview.content.decode()
    assert left(preview, english) == []


def test_moving_in_is_russian(client: Client, english: set[str], tmp_path: Path) -> None:
    people = [
        {"username": "vera"},
        {"username": "gleb"},
        {"username": "sasha", "data_limit": "много"},
    ]
    baker.make(Subscriber, name="gleb")
    old = marzban(tmp_path / "db", people).read_bytes()
    file = SimpleUploadedFile("db.sqlite3", old)
    preview = client.post(url("subscriber_move_in"), {"kind": "marzban", "file": file})
    assert "vera" in preview.content.decode()
    refused = client.post(url("subscriber_move_in"), {"kind": "marzban"})
    assert (left(preview, english), left(refused, english)) == ([], [])


def test_strangers_are_addressed_in_russian(client: Client, english: set[str]) -> None:
    stranger = Client(headers={"accept-language": "ru"}, enforce_csrf_checks=False)
    wrong = {"username": "ева", "password": "неверный"}
    answers = [stranger.get("/admin/", follow=True)]
    answers += [stranger.post("/admin/login/", wrong) for _ in range(project.AXES_FAILURE_LIMIT)]
    assert answers[-1].status_code == 429
    assert [left(answer, english) for answer in answers] == [[]] * len(answers)


def test_a_refusal_for_missing_permission_is_russian(english: set[str]) -> None:
    client = Client(headers={"accept-language": "ru"})
    client.force_login(baker.make(User, username="новый", is_staff=True))
    for address in ("/admin/", url("subscriber_changelist"), "/admin/nowhere/"):
        assert left(client.get(address), english) == []


def test_english_is_noticed(english: set[str]) -> None:
    said = Screen(
        '<p title="Add row">Да</p><a>Type to search</a><b class="material-symbols-outlined">add</b>'
    ).said
    assert said == ["Add row", "Да", "Type to search"]
    assert [bool(text in english or _ENGLISH.search(text)) for text in said] == [True, False, True]


def test_deleted_ones_are_listed_in_russian(
    client: Client, objects: dict[str, Any], english: set[str]
) -> None:
    changes.hide(Subscriber, [objects["traffic_subscriber"].pk], By("ева", timezone.now()))
    page = client.get(url("subscriber_changelist"), {"shown": "deleted"})
    assert "Анна" in page.content.decode()
    assert left(page, english) == []
