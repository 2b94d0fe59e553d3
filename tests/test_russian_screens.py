"""Nothing in English is left on a Russian screen: every page of the admin, as it is opened and as it answers."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import polib
import pytest
from django.conf import settings as project
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from model_bakery import baker
from pytest_django import Settings

from subscriptions import direct_configs, sources
from subscriptions.models import DirectConfig, Endpoint, EndpointCheck, Node, Source, SubscriptionHit
from subscriptions.models import Group as SubscriptionGroup
from traffic import changes
from traffic.audit import By
from traffic.authentication import create_api_key
from traffic.models import ApiKey, CommandRun, Delivery, Receiver, Server, Subscriber

from .routes import Route, routes
from .test_translations import CATALOGUES
from .traffic.admin_pages import a_subscriber, url
from .traffic.examples import DAY, GB, a_report, stored

pytestmark = pytest.mark.django_db

_SPOKEN = ("title", "placeholder", "aria-label", "aria-description", "alt", "data-copy", "data-done")
_EMPTY = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_SILENT = {"script", "style", "code", "textarea"}
# Words that no name, address or figure consists of: who sees one on a page looks at an English sentence or label.
_ENGLISH = re.compile(
    r"(?<![\w./:=?&@-])(the|of|and|is|are|was|were|has|have|not|no|yes|none|never|ago|by|in|to|for|from|with|since|until|all|"
    r"add|save|delete|edit|change|search|filters?|select|selected|show|hide|back|next|previous|close|cancel|"
    r"subscribers?|servers?|sources?|users?|groups?|keys?|requests?|reports?|traffic|usage|limit|history|home|"
    r"active|enabled|disabled|expired|unlimited|unknown|empty|error|failed|day|days|hours?|minutes?|bytes?|[KMGT]?B)"
    r"(?![\w/:=@-]|\.\w)",
    re.IGNORECASE,
)


class Screen(HTMLParser):
    """``said``: what a reader sees or hears of a page, piece by piece. Symbols of the theme are drawn, not read."""

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
            is_silent = tag in _SILENT or "material-symbols" in given.get("class", "") or given.get("lang") == "en"
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
    """Every text of ours that is written otherwise in Russian, as it is in the source."""
    entries = [entry for path in CATALOGUES if path.parts[-3] == "ru" for entry in polib.pofile(str(path))]
    return {entry.msgid for entry in entries if entry.msgstr != entry.msgid and re.search(r"[a-z]{3}", entry.msgid)}


def left(response: Any, english: set[str]) -> list[str]:
    """What a page says in English."""
    said = Screen(response.content.decode()).said
    return sorted({text for text in said if text in english or _ENGLISH.search(text)})


@pytest.fixture(autouse=True)
def a_russian_panel(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """What is written down for everybody is in the panel's language. Nothing is fetched."""
    settings.LANGUAGE_CODE = "ru"
    monkeypatch.setattr(sources, "refresh_soon", lambda pks: None)


@pytest.fixture
def client() -> Client:
    found = Client(headers={"accept-language": "ru"})
    # The page of an account shows how the salt begins: a random one was "is" or "KB" once in a hundred runs.
    password = make_password("верный", "соль")
    found.force_login(baker.make(User, username="ева", password=password, is_staff=True, is_superuser=True))
    return found


@pytest.fixture
def objects(client: Client) -> dict[str, Any]:
    """One of everything, with names in Russian: what is English on a page is the page's own."""
    now = timezone.now()
    anna = a_subscriber("Анна", token="long-token-of-anna", data_limit=40 * GB, expires_at=now + 3 * DAY)
    for days in (0, 1, 9):
        report = a_report(now - days * DAY, user_token=anna.token, server=f"vpn{days}.example.com", upload=GB)
        stored(report, now=now)
    by = By("ева", now)
    changes.extend([anna.pk], 10, by)
    changes.switch([anna.pk], on=False, by=by)
    group = baker.make(SubscriptionGroup, name="Друзья")
    group.subscribers.add(anna)
    source: Source = baker.make(
        Source, name="Берлин", url="https://a.example/", failures=2, last_error="timeout", last_success=now,
        skipped={"bad_port": 2, "pseudo": 1, "duplicate": 3}, provider_expire=int(now.timestamp()) + 400_000,
    )  # fmt: skip
    Source.objects.filter(pk=source.pk).update(
        provider_upload=GB, provider_download=GB, provider_total=9 * GB, milliseconds=90, size=900
    )
    baker.make(Source, name="Вена", url="https://b.example/", enabled=False)
    answering = baker.make(Endpoint, server="n1.example.com", port=443, state="up", latency=40, checked_at=now)
    for slot, latency in enumerate((40, None)):
        EndpointCheck.objects.create(endpoint=answering, slot=slot, at=now, latency=latency, loss=33)
    baker.make(Endpoint, server="n2.example.com", port=443, state="down", down_since=now, checked_at=now)
    nodes = [
        baker.make(Node, source=source, server=f"n{number}.example.com", port=443, remarks="Узел", position=number)
        for number in range(3)
    ]
    direct_configs.add_many(["trojan://secret@fast.example.com:443?security=tls#Вена"])
    receiver = baker.make(Receiver, name="Дежурный", kind="webhook", target="http://127.0.0.1:1/")
    for name in ("browser", "other", "other-vpn-app"):
        baker.make(
            SubscriptionHit, subscriber=anna, client=name, format="plain", status=200, milliseconds=1, address=""
        )
    return {
        "traffic_subscriber": anna,
        "traffic_server": Server.objects.get(host="vpn0.example.com"),
        "traffic_commandrun": baker.make(CommandRun, command="cleanup_traffic", error=""),
        "traffic_apikey": create_api_key("ключ", "read")[0],
        "traffic_receiver": receiver,
        "traffic_delivery": baker.make(Delivery, receiver=receiver),
        "subscriptions_directconfig": DirectConfig.objects.get(),
        "subscriptions_source": source,
        "subscriptions_node": nodes[1],
        "subscriptions_group": group,
        "subscriptions_subscriptionhit": SubscriptionHit.objects.first(),
        "auth_user": User.objects.get(),
        "auth_group": Group.objects.create(name="дежурные"),
    }


def pages(objects: dict[str, Any]) -> Iterator[Route]:
    """Every address of the admin."""
    common = dict.fromkeys(("user_token", "server", "port", "content_type_id", "kind", "name"), 1)
    for model, found in {"": objects["traffic_apikey"], **objects}.items():
        values = {**common, "app_label": "traffic", "object_id": found.pk, "id": found.pk}
        values["pk"] = objects["subscriptions_directconfig"].pk
        values["content_type_id"] = ContentType.objects.get_for_model(ApiKey).pk
        for route in routes(values):
            owner = next((name for name in objects if route.name.startswith(f"admin:{name}_")), "")
            is_page = route.name.startswith("admin:") and not route.name.endswith(
                ("_export", ":logout", ":view_on_site")
            )
            if is_page and owner == model:
                yield route


def is_page(response: Any) -> bool:
    return str(response["Content-Type"]).startswith("text/html")


def test_every_page_is_russian(client: Client, objects: dict[str, Any], english: set[str]) -> None:
    found = {route.url: client.get(route.url, follow=True) for route in pages(objects)}
    assert len(found) > 50
    assert {url: words for url, page in found.items() if is_page(page) and (words := left(page, english))} == {}


def test_every_answer_to_an_empty_form_is_russian(client: Client, objects: dict[str, Any], english: set[str]) -> None:
    answers = {}
    for route in pages(objects):
        if not route.name.endswith(("_delete", "login")):
            answers[route.url] = client.post(route.url, {"name": "", "data_limit": "много", "raw": "ы", "url": "ы"})
    assert {url: words for url, page in answers.items() if is_page(page) and (words := left(page, english))} == {}


def test_every_action_asks_and_answers_in_russian(client: Client, objects: dict[str, Any], english: set[str]) -> None:
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
    assert {key: words for key, page in found.items() if is_page(page) and (words := left(page, english))} == {}


@pytest.mark.parametrize(
    "name", ["traffic_subscriber", "traffic_server", "subscriptions_directconfig", "subscriptions_source", "auth_group"]
)
def test_deleting_is_russian(name: str, client: Client, objects: dict[str, Any], english: set[str]) -> None:
    chosen = {"action": "delete_selected", "_selected_action": str(objects[name].pk)}
    address = reverse(f"admin:{name}_changelist")
    asked = client.post(address, chosen, follow=True)
    deleted = client.post(reverse(f"admin:{name}_delete", args=[objects[name].pk]), {"post": "yes"}, follow=True)
    assert (left(asked, english), left(deleted, english)) == ([], [])


@pytest.mark.parametrize("model", ["subscriptions_directconfig", "subscriptions_source", "subscriptions_group"])
def test_what_was_saved_is_said_in_russian(
    model: str, client: Client, objects: dict[str, Any], english: set[str]
) -> None:
    fields = {
        "name": "Новое", "url": "https://c.example/", "priority": "1", "interval": "60", "is_active": "on",
        "raw": "trojan://other@fast.example.com:443#Прага",
    }  # fmt: skip
    answer = client.post(reverse(f"admin:{model}_add"), fields, follow=True)
    assert "Добавлено:" in answer.content.decode()
    assert left(answer, english) == []


def test_what_was_changed_is_named_in_russian(client: Client, objects: dict[str, Any]) -> None:
    source = objects["subscriptions_source"]
    fields = {"name": "Иное", "url": source.url, "enabled": "on", "priority": "7", "interval": "99"}
    client.post(reverse("admin:subscriptions_source_change", args=[source.pk]), fields)
    history = client.get(reverse("admin:subscriptions_source_history", args=[source.pk])).content.decode()
    assert "Изменено: имя, приоритет и интервал" in " ".join(history.split())


def test_an_import_is_russian(client: Client, english: set[str]) -> None:
    lines = "name,data_limit,active\nБорис,5 GB,yes\nВера,много,yes\nГлеб,,maybe\n,,\n".encode()
    preview = client.post(url("subscriber_import"), {"file": SimpleUploadedFile("a.csv", lines)})
    assert "Борис" in preview.content.decode()
    assert left(preview, english) == []


def test_strangers_are_addressed_in_russian(client: Client, english: set[str]) -> None:
    stranger = Client(headers={"accept-language": "ru"}, enforce_csrf_checks=False)
    wrong = {"username": "ева", "password": "неверный"}
    answers = [stranger.get("/admin/", follow=True)]
    answers += [stranger.post("/admin/login/", wrong) for _ in range(project.AXES_FAILURE_LIMIT)]
    assert answers[-1].status_code == 429
    assert [left(answer, english) for answer in answers] == [[]] * len(answers)


def test_who_may_not_is_told_so_in_russian(english: set[str]) -> None:
    client = Client(headers={"accept-language": "ru"})
    client.force_login(baker.make(User, username="новый", is_staff=True))
    for address in ("/admin/", url("subscriber_changelist"), "/admin/nowhere/"):
        assert left(client.get(address), english) == []


def test_english_is_noticed(english: set[str]) -> None:
    said = Screen('<p title="Add row">Да</p><a>Type to search</a><b class="material-symbols-outlined">add</b>').said
    assert said == ["Add row", "Да", "Type to search"]
    assert [bool(text in english or _ENGLISH.search(text)) for text in said] == [True, False, True]


def test_deleted_ones_are_listed_in_russian(client: Client, objects: dict[str, Any], english: set[str]) -> None:
    changes.hide(Subscriber, [objects["traffic_subscriber"].pk], By("ева", timezone.now()))
    page = client.get(url("subscriber_changelist"), {"shown": "deleted"})
    assert "Анна" in page.content.decode()
    assert left(page, english) == []
